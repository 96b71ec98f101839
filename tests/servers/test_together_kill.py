"""kill -9 of whoever holds the lock: the others go on in seconds, and nothing else changes.

The holder is stopped at a moment when the lock is there in its name, and killed then.

A Courier that waits with gam_server's help sleeps until the lock's file goes, or two minutes: it
does not see by itself that the holder dies meanwhile (116 s were measured without courierfs). One
that waits without gam_server looks every second. The Couriers here wait so.
"""

import os
import signal
import time

import pytest

from servers.answers import ask_folder
from servers.courier import deliver
from servers.courier_files import UidDatabase
from servers.lab import as_mail_user, wait_until
from servers.store import letter
from servers.test_lock import Waiting
from servers.together import MIA, add_large_user, child_of

COUNT = 400
# Courier pauses 5 s when it found a stale lock; Dovecot looks every 3 s at the latest.
LIMIT = 20
OLD = 130
# It can start no gam_server, and does not find the one that serves other Couriers here.
WITHOUT_GAMIN = {"GAMIN_DEBUG_SERVER": "/nonexistent", "GAM_CLIENT_ID": "nobody"}


def lock_of(maildir):
    """Courier's lock."""
    return maildir / "tmp" / "courier.lock"


def holder(maildir):
    """What the lock says, or nothing."""
    try:
        with as_mail_user():
            return lock_of(maildir).read_text(encoding="ascii")
    except FileNotFoundError:
        return ""


def stop_process(pid):
    """SIGSTOP; returns when the process stands still."""
    os.kill(pid, signal.SIGSTOP)

    def is_stopped():
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] in "TZ"

    wait_until(is_stopped, "it stands still")


def stopped_with_lock(maildir, imap, command, pid=None, owner=None):
    """Sends `command` until `pid` (the session's server) stands still with the session's lock.

    `owner` is what the lock calls the session's server, if that is not its pid here.
    """
    owner = owner or imap.connection.pid
    for _ in range(500):
        waiting = Waiting(imap, command)
        while waiting.is_quiet(0):
            if holder(maildir).startswith(f"{owner}:"):
                stop_process(pid or owner)
                if holder(maildir).startswith(f"{owner}:"):
                    return
                os.kill(pid or owner, signal.SIGCONT)
        waiting.finish()
    raise AssertionError("never met it with the lock")


def killed(imap):
    """Kills a session's server and sees it off."""
    os.kill(imap.connection.pid, signal.SIGKILL)
    imap.close()


def goes_on(waiting, who):
    """Asserts that the answer comes in time."""
    begin = time.monotonic()
    waiting.finish()
    seconds = time.monotonic() - begin
    print(f"{who} went on after {seconds:.1f} s")
    assert seconds < LIMIT


@pytest.fixture(name="maildir")
def make_maildir(site):
    """A large mailbox that both servers have seen."""
    maildir = add_large_user(site, COUNT)
    with site.dovecot.imap(MIA) as imap:
        imap.select("INBOX")
    return maildir


@pytest.fixture(name="before", autouse=True)
def nothing_changes(site, maildir):
    """When the test is done all answers agree, and every message has the UID it had."""
    before = UidDatabase.read(maildir)
    yield before
    site.agree(MIA)
    after = UidDatabase.read(maildir)
    assert after.uidvalidity == before.uidvalidity
    assert before.uids.items() <= after.uids.items()
    assert len(set(after.uids.values())) == len(after.uids)
    assert max(after.uids.values()) < after.next_uid


def others_go_on(site, maildir, release):
    """A session of each server waits for a lock, and goes on after `release`."""
    with site.courier.imap(maildir, **WITHOUT_GAMIN) as courier, site.dovecot.imap(MIA) as dovecot:
        deliver(maildir, letter(1))  # so that Dovecot needs the lock
        waiting = [Waiting(courier, "SELECT INBOX"), Waiting(dovecot, "SELECT INBOX")]
        assert all(session.is_quiet(0.7) for session in waiting)
        release()
        for session, who in zip(waiting, ("Courier", "Dovecot")):
            goes_on(session, who)
        dovecot.append("INBOX", letter(2), "\\Seen")
        courier.append("INBOX", letter(3), "\\Seen")


def courier_goes_on(site, maildir, release):
    """A session of Courier's alone waits for a lock, and goes on after `release`."""
    with site.courier.imap(maildir, **WITHOUT_GAMIN) as courier:
        waiting = Waiting(courier, "SELECT INBOX")
        assert waiting.is_quiet(0.7)
        release()
        goes_on(waiting, "Courier")


@pytest.mark.parametrize("go_on", [others_go_on, courier_goes_on])
def test_courier_is_killed(site, maildir, go_on):
    """An imapd in the middle of a scan."""
    imap = site.courier.imap(maildir)
    imap.select("INBOX")
    for number in range(100):
        deliver(maildir, letter(number))
    stopped_with_lock(maildir, imap, "NOOP")
    go_on(site, maildir, lambda: killed(imap))


@pytest.mark.parametrize("go_on", [others_go_on, courier_goes_on])
def test_dovecot_is_killed(site, maildir, go_on):
    """Dovecot in the middle of renaming many messages."""
    imap = site.dovecot.imap(MIA)
    imap.select("INBOX")
    stopped_with_lock(maildir, imap, "STORE 1:* +FLAGS (\\Flagged Odd)")
    go_on(site, maildir, lambda: killed(imap))


def test_a_killed_courier_of_another_host(site, maildir):
    """Its lock holds up both servers of this host, until it is two minutes old."""
    imap = site.courier.imap(maildir)
    imap.select("INBOX")
    stopped_with_lock(maildir, imap, "NOOP")
    with as_mail_user():
        lock_of(maildir).write_text("4711:elsewhere", encoding="ascii")
    killed(imap)

    def grow_old():
        with as_mail_user():
            os.utime(lock_of(maildir), (time.time() - OLD, time.time() - OLD))

    others_go_on(site, maildir, grow_old)


def daemon_dies(site, imap):
    """The daemon is killed and its mount taken away; the session above it ends as it likes."""
    site.expected_complaints += ["Transport endpoint", "Software caused"]
    os.kill(site.mount.process.pid, signal.SIGKILL)
    os.kill(imap.connection.pid, signal.SIGCONT)
    site.mount.kill()


@pytest.mark.parametrize("lives", [True, False], ids=["dovecot-lives", "dovecot-too"])
def test_the_daemon_is_killed(site, maildir, lives):
    """While a Dovecot holds the lock: the next mount releases it, whether that one lives or not.

    It lives only if the daemon's keeper, which would end it, is killed as well.
    """
    imap = site.dovecot.imap(MIA)
    imap.select("INBOX")
    stopped_with_lock(maildir, imap, "STORE 1:* +FLAGS (\\Flagged Odd)")
    if lives:
        os.kill(child_of(site.mount.process.pid), signal.SIGKILL)
        site.mount.kill()
        assert holder(maildir).startswith(f"{imap.connection.pid}:")
    else:
        daemon_dies(site, imap)
        imap.close()
    site.mount.start()
    assert holder(maildir) == ""
    with site.courier.imap(maildir) as courier, site.dovecot.imap(MIA) as other:
        goes_on(Waiting(courier, "SELECT INBOX"), "Courier")
        if lives:
            killed(imap)  # it stood still with the lock of its index, too
        other.append("INBOX", letter(2), "\\Seen")


def test_the_daemon_is_killed_in_the_grant(site, maildir):
    """While it gives out UIDs: some messages have them or none, and each keeps what it got."""
    with as_mail_user():
        for number in range(COUNT):
            (maildir / "cur" / f"{1_800_000_000 + number}.Later.mx:2,").write_bytes(letter(number))
    imap = site.dovecot.imap(MIA)
    daemon = site.mount.process.pid
    stopped_with_lock(maildir, imap, "SELECT INBOX", daemon)
    daemon_dies(site, imap)
    imap.close()
    with site.courier.imap(maildir) as courier:  # nothing is mounted: Courier goes on alone
        goes_on(Waiting(courier, "SELECT INBOX"), "Courier")
        told = ask_folder(courier, "INBOX")
        assert len(told.messages) == 2 * COUNT
    site.mount.start()
    with site.dovecot.imap(MIA) as other:
        assert set(ask_folder(other, "INBOX").messages) == set(told.messages)
