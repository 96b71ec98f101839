"""How often Courier's own scan loses a message whose flags change meanwhile. Without courierfs.

    PYTHONPATH=tests /usr/bin/python3 -m servers.measure_courier_scans [SECONDS [MESSAGES]]

One session of Courier's looks (NOOP) in a loop, in a folder where flags change: once by another
session of Courier's, STORE of all messages in a loop; once by a program that renames as fast as it
can. A message that a scan misses loses its UID and gets another one at the next scan.
"""

import contextlib
import sys
import threading
import time

from servers.courier import Courier
from servers.courier_files import UidDatabase, base_name
from servers.lab import Lab
from servers.store import Builder
from servers.together import MIA, add_large_user, changing_flags, stopping, working


class Bare:
    """A store with Courier and nothing else; what `add_large_user` needs of a Site."""

    def __init__(self, lab):
        self.courier = Courier(lab)
        self.store = Builder(lab, self.courier).store


@contextlib.contextmanager
def flags_by_courier(lab, site, maildir):
    """Another session of Courier's changes flags of all messages; gives their count."""
    del lab
    stop, done, renamed = threading.Event(), [], []
    with site.courier.imap(maildir) as imap:
        imap.select("INBOX")
        with stopping([changing_flags(imap, stop, done)], stop):
            yield renamed
        renamed.append(len(done) * len(list((maildir / "cur").iterdir())))


@contextlib.contextmanager
def flags_by_program(lab, site, maildir):
    """The renamer; gives its count."""
    del site
    with working(lab, "renamer", maildir) as renamed:
        yield renamed


def measure(lab, changes, seconds, count):
    """Looks for a while; prints what was lost."""
    site = Bare(lab)
    maildir = add_large_user(site, count, MIA)
    before = UidDatabase.read(maildir).uids
    looks = changed = listings = short = 0
    with site.courier.imap(maildir) as imap, changes(lab, site, maildir) as renamed:
        imap.select("INBOX")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            imap.command("NOOP")
            looks += 1
            after = UidDatabase.read(maildir).uids
            changed += sum(after.get(base, uid) != uid for base, uid in before.items())
            before = before | after
            listings += 1
            listed = {base_name(path.name) for path in (maildir / "cur").iterdir()}
            short += count - len(listed)
    site.store.discard()
    print(f"{changes.__name__}: {seconds:.0f} s, {count} messages, {renamed[0]} renames, "
          f"{looks} scans by Courier: {changed} UIDs were replaced; "
          f"{listings} plain listings of cur: {short} messages missed")


def main():
    """Measures both."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 5000
    lab = Lab()
    try:
        with lab.watchdog(10 * seconds + 120):
            for changes in (flags_by_courier, flags_by_program):
                measure(lab, changes, seconds, count)
    finally:
        lab.close()


if __name__ == "__main__":
    main()
