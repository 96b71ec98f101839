"""What Dovecot writes to its list is lost: the daemon dies, or the store refuses to record it.

Dovecot would then take its list for empty and give every message a new UID.
"""

import contextlib
import errno

import pytest

from servers.answers import nothing_in
from servers.faults import Faults
from servers.imap import Refused
from servers.lab import STORES, wait_until
from servers.store import ANN
from servers.together import deliver_named, words_by_uid

pytestmark = [pytest.mark.any_layout, pytest.mark.skipif(
    bool(STORES), reason="faults are put below the daemon, not on NFS")]

# More than the calls that change the store in one sync of Dovecot's.
STEPS = 14
BROKEN = (EOFError, Refused, ConnectionError)


def changed_below(site, number):
    """New mail, and a flag: so Dovecot reads all of cur, and writes its list."""
    with site.courier.imap(site.store.maildir(ANN)) as imap:
        imap.select("INBOX")
        imap.command(f"STORE 1 {'+-'[number % 2]}FLAGS (\\Flagged)")
    deliver_named(site, ANN, f"w{number}")


@contextlib.contextmanager
def history(lab, site):
    """The injector, and a function that fails if Dovecot tells other UIDs than ever before."""
    for number in range(4):
        deliver_named(site, ANN, f"first{number}")
    faults = Faults(lab, site.mount)
    site.mount.remount()
    known = {}

    def look(when=""):
        with site.dovecot.imap(ANN) as imap:
            imap.select("INBOX")
            now = words_by_uid(imap)
        lost = {uid: word for uid, word in known.items() if now.get(uid) != word}
        assert not lost, when
        known.update(now)

    look()
    yield faults, look
    nothing_in([line for line in site.dovecot.complaints() if "reappeared" in line],
               "Dovecot forgot messages")


def test_killed_while_dovecot_writes_its_list(lab, site):
    """At each call on the store in turn."""
    killed = 0
    with history(lab, site) as (faults, look):
        for number in range(1, STEPS + 1):
            changed_below(site, number)
            faults.arm(number)
            with contextlib.suppress(*BROKEN), site.dovecot.imap(ANN) as imap:
                imap.select("INBOX")
            if faults.fired:
                killed += 1
                wait_until(lambda: site.mount.process.poll() is not None, "the daemon is dead")
                site.mount.kill()
                site.mount.start()
            faults.disarm()
            look(f"killed at call {number}, {faults.what}")
    assert killed >= 5


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
def test_refused_while_dovecot_writes_its_list(lab, site, error):
    """At each call in turn. A session may end; the next one finds everything as it was."""
    site.mount.expect_error(".")
    failed = 0
    with history(lab, site) as (faults, look):
        for number in range(1, STEPS + 1):
            changed_below(site, number)
            faults.arm(number, action=error)
            with contextlib.suppress(*BROKEN), site.dovecot.imap(ANN) as imap:
                imap.select("INBOX")
            failed += faults.fired
            faults.disarm()
            look(f"failed at call {number}, {faults.what}")
    assert failed >= 5
