"""What one thing costs, counted: calls on the store, and requests of the kernel. Times are for the bench.

The limits are what was counted; where a figure depends on how long ago something was looked at it is
the greater one.
"""

import os
import re
import threading
import time
from pathlib import Path

import pytest

from servers.lab import as_mail_user, wait_until
from servers.test_together_waiting import COUNT, looking, storing
from servers.together import MIA, add_large_user, stopping

FEW, MANY = 100, 1000


class Counted:
    """What a block made the daemon do: {(kind, name): number}, reading the counters not among it."""

    def __init__(self, site):
        self._site = site
        self._look()
        self._own = self._difference(self._look(), self._look())
        self._before = None
        self.found = None

    def _look(self):
        lines = re.findall(r"^(request|store) (\w+): (\d+)$", self._site.mount.status(), re.MULTILINE)
        return {(kind, name): int(number) for kind, name, number in lines}

    @staticmethod
    def _difference(before, after):
        return {key: after[key] - before[key] for key in after}

    def _quiet(self):
        """The counters, once nothing is under way any more."""
        def looked_twice():
            first, second = self._look(), self._look()
            return second if self._difference(first, second) == self._own else None

        return wait_until(looked_twice, "the daemon is done")

    def __enter__(self):
        self._before = self._quiet()
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            after = self._look()
            counted = self._difference(self._before, after)
            self.found = {key: counted[key] - self._own[key] for key in counted}
            print({" ".join(key): number for key, number in self.found.items() if number})

    def all(self, kind):
        """Of all names; what the kernel only says, and does not wait for, left out."""
        return sum(number for (kind_, name), number in self.found.items()
                   if kind_ == kind and name not in ("forget", "release", "releasedir"))

    def one(self, kind, name):
        """Of one name."""
        return self.found[kind, name]


@pytest.fixture(name="mia")
def make_mia(site):
    """A user with many messages, seen by Dovecot."""
    add_large_user(site, MANY)
    with site.dovecot.imap(MIA) as imap:
        imap.select("INBOX")
        imap.command(f"FETCH 1:{MANY} (RFC822.SIZE BODY.PEEK[])")
    return MIA


def settled(site):
    """Waits until the mailbox is too old for its times to be doubted."""
    maildir = site.store.maildir(MIA)
    paths = [maildir, maildir / "cur", maildir / "new", *maildir.glob("courier*")]
    wait_until(lambda: time.time() > max(path.stat().st_ctime for path in paths) + 3.1,
               "the mailbox is old", seconds=10)


def test_select_of_what_did_not_change(site, mia):
    """It is a few looks at directories and files, however many messages there are."""
    settled(site)
    for _ in range(2):  # the first lets the daemon see that all is old
        with site.dovecot.imap(mia) as imap, Counted(site) as counted:
            imap.select("INBOX")
    assert counted.all("request") <= 5
    assert counted.all("store") <= 12
    assert counted.one("store", "getdents") == 0


def test_a_body(site, mia):
    """It is looked up, opened and read, once each; the second time it is not read."""
    with site.dovecot.imap(mia) as imap:
        imap.select("INBOX")
        imap.command("FETCH 1 BODY.PEEK[]")
        with Counted(site) as counted:
            imap.command(f"FETCH 1:{FEW} BODY.PEEK[]")
    for name in ("lookup", "open"):
        assert counted.one("request", name) <= FEW + 2
    assert counted.one("request", "read") == 0, "the kernel has it"
    # What takes longer than a moment has the keywords looked for again: a listing, three opens.
    looks = counted.one("store", "getdents") // 2
    assert counted.one("store", "open") <= FEW + 3 * (looks + 1)
    # Six each, for the kernel asks for the rights of cur each time; the rest is looks, one in 50 ms.
    assert counted.all("store") < 7 * FEW


def test_flags(site, mia):
    """A STORE is two names looked up and one rename."""
    with site.dovecot.imap(mia) as imap:
        imap.select("INBOX")
        with Counted(site) as counted:
            imap.command(f"STORE 1:{FEW} +FLAGS.SILENT (\\Flagged)")
    assert counted.one("request", "rename") == counted.one("store", "rename") == FEW
    assert counted.all("request") <= 8 * FEW + 60


def appended(site, messages):
    """What an APPEND costs in a mailbox with so many messages: the least of three, because one that meets
    a pause of the lock asks for it again."""
    user = f"m{messages}@example.org"
    add_large_user(site, messages, user=user)
    with site.dovecot.imap(user) as imap:
        imap.select("INBOX")
        imap.append("INBOX", b"Subject: first\n\none\n")
        found = []
        for _ in range(3):
            with Counted(site) as counted:
                imap.append("INBOX", b"Subject: second\n\ntwo\n")
            found.append(counted)
    return min(found, key=lambda counted: counted.all("store"))


def test_an_append_costs_as_many_calls_in_a_large_mailbox(site):
    """But for the blocks of its lists, which are read and written whole: 64 KiB of names at a time."""
    small, large = appended(site, FEW), appended(site, 10 * MANY)
    blocks = 10 * MANY * 32 // 65536 + 1
    assert large.one("store", "getdents") <= small.one("store", "getdents") + 4 * blocks
    for name in ("open", "stat", "write", "rename", "fsync"):
        assert large.one("store", name) <= small.one("store", name) + 20, name


def test_who_saved_a_message_does_not_list_cur_for_it(site):
    """It is saved in `new`, where Dovecot looks for it next, and finds it."""
    counted = appended(site, MANY)
    assert counted.one("request", "create") <= 3, "the message and two locks"
    assert counted.one("request", "readdir") <= 3, "of new"


def test_what_the_kernel_forgets_is_forgotten(site):
    """A file that somebody looked at takes memory only while the kernel remembers it."""
    add_large_user(site, MANY)

    def nodes():
        return int(re.search(r"^nodes: (\d+)$", site.mount.status(), re.MULTILINE)[1])

    def forgotten():
        Path("/proc/sys/vm/drop_caches").write_text("2", encoding="ascii")
        return nodes() < FEW

    with as_mail_user():
        for entry in list(os.scandir(site.seen(MIA) / "cur")):
            os.stat(entry.path)
    assert nodes() > MANY
    wait_until(forgotten, "the kernel has forgotten them, and the daemon too")


def test_whoever_meets_a_pause_waits(site):
    """While a lock is left to others, a Dovecot that wants it does not ask for it again and again."""
    maildir = add_large_user(site, COUNT)
    stop, done, looks = threading.Event(), [], []
    with site.dovecot.imap(MIA) as imap, site.courier.imap(maildir) as courier:
        imap.select("INBOX")
        courier.select("INBOX")
        begin = time.monotonic()
        with Counted(site) as counted, stopping(
                [storing(imap, stop, done), looking(courier, stop, looks)], stop):
            wait_until(lambda: time.monotonic() > begin + 8, "the lock was used", seconds=10)
        seconds = time.monotonic() - begin
    opens = counted.one("store", "open")
    print(f"{len(done)} STOREs and {len(looks)} NOOPs of Courier's in {seconds:.1f} s: {opens} opens")
    assert opens < 60 * len(done) + 100 * seconds
