"""The daemon is killed while Dovecot writes its list: Dovecot must not forget its index."""

import contextlib

import pytest

from servers.answers import nothing_in
from servers.faults import Faults
from servers.imap import Refused
from servers.lab import STORES, wait_until
from servers.store import ANN
from servers.together import deliver_named, words_by_uid

pytestmark = pytest.mark.skipif(bool(STORES), reason="faults are put below the daemon, not on NFS")

# More than the calls that change the store in one sync of Dovecot's.
STEPS = 14
BROKEN = (EOFError, Refused, ConnectionError)


def changed_below(site, number):
    """New mail, and a flag: so Dovecot reads all of cur, and writes its list."""
    with site.courier.imap(site.store.maildir(ANN)) as imap:
        imap.select("INBOX")
        imap.command(f"STORE 1 {'+-'[number % 2]}FLAGS (\\Flagged)")
    deliver_named(site, ANN, f"w{number}")


def test_killed_while_dovecot_writes_its_list(lab, site):
    """At each call on the store in turn. Every message keeps its UID, and Dovecot says nothing of
    messages that reappeared."""
    for number in range(4):
        deliver_named(site, ANN, f"first{number}")
    faults = Faults(lab, site.mount)
    site.mount.remount()
    with site.dovecot.imap(ANN) as imap:
        imap.select("INBOX")
        known = words_by_uid(imap)
    killed = 0
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
        with site.dovecot.imap(ANN) as imap:
            imap.select("INBOX")
            now = words_by_uid(imap)
        lost = {uid: word for uid, word in known.items() if now.get(uid) != word}
        assert not lost, f"killed at call {number}, {faults.what}"
        known = now
    assert killed >= 5
    complaints = site.dovecot.complaints()
    nothing_in([line for line in complaints if "reappeared" in line], "Dovecot forgot messages")
