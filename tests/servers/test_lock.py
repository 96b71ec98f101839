"""The two locks are one: who holds Dovecot's holds Courier's, and the other way round."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
import traceback

import pytest

from servers.courier_files import UID_DATABASE, UidDatabase
from servers.lab import as_mail_user, wait_until
from servers.store import ANN, letter
from servers.together import child_of

HOST = socket.gethostname()
QUIET = 1.5  # seconds without an answer that count as "it waits"
BY_LINK = {"dotlock_use_excl": "no"}


def courier_lock(site):
    """The lock of Ann's INBOX in the store."""
    return site.store.maildir(ANN) / "tmp" / "courier.lock"


def dovecot_lock(site):
    """The same lock as Dovecot sees it."""
    return site.seen(ANN) / "dovecot-uidlist.lock"


def take_as_courier(site, content):
    """Courier's lock, made as Courier makes it."""
    with as_mail_user():
        draft = courier_lock(site).with_name("1700000000.M1P1_courierlock.other")
        draft.write_text(content, encoding="ascii")
        os.link(draft, courier_lock(site))
        draft.unlink()


def take_as_dovecot(site):
    """Dovecot's lock, made as Dovecot makes it; its device and inode."""
    with as_mail_user():
        descriptor = os.open(dovecot_lock(site), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        os.write(descriptor, f"{os.getpid()}:{HOST}".encode())
        made = os.fstat(descriptor)
        os.close(descriptor)
    return made.st_dev, made.st_ino


@contextlib.contextmanager
def live_process(lab):
    """The pid of a process that lives while the block runs."""
    process = lab.spawn(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.stdin.close()
        lab.end(process)


@pytest.fixture(name="dead_pid")
def find_dead_pid(lab):
    """The pid of a process that has just ended."""
    with live_process(lab) as pid:
        pass
    return pid


class Waiting:
    """A SELECT or APPEND that was sent and whose answer is still to come."""

    def __init__(self, imap, text):
        self._imap = imap
        imap.connection.send(f"w {text}\r\n".encode())

    def is_quiet(self, seconds=QUIET):
        """Whether no answer comes for a while."""
        return not select.select([self._imap.connection.socket], [], [], seconds)[0]

    def finish(self):
        """The status that the answer has at last."""
        reply = self._imap.collect("w")
        assert reply.status == "OK", reply
        return reply


def expunge_first(imap):
    """Makes a session's next EXPUNGE need the lock."""
    imap.select("INBOX")
    imap.command("STORE 1 +FLAGS (\\Deleted)")


@pytest.mark.parametrize("settings", [{}, BY_LINK], ids=["exclusive", "link"])
def test_dovecot_waits_for_a_live_courier(site, lab, settings):
    """While a live process holds Courier's lock, Dovecot waits; then it goes on."""
    with site.dovecot.imap(ANN, **settings) as imap, live_process(lab) as pid:
        expunge_first(imap)
        take_as_courier(site, f"{pid}:{HOST}")
        waiting = Waiting(imap, "EXPUNGE")
        assert waiting.is_quiet()
        with as_mail_user():
            assert dovecot_lock(site).read_text(encoding="ascii") == f"{pid}:{HOST}"
            courier_lock(site).unlink()
        waiting.finish()
    site.agree(ANN)


def test_dovecot_gives_up_in_time(site, lab):
    """A lock that is never released costs Dovecot its timeout and nothing else."""
    before = site.ask_dovecot(ANN)
    site.expected_complaints += ["Timeout", "timed out", "lock"]
    with live_process(lab) as pid:
        take_as_courier(site, f"{pid}:{HOST}")
        with site.dovecot.imap(ANN, mail_max_lock_timeout="2 secs") as imap:
            reply = imap.append("INBOX", letter(1), "\\Seen $Label1", expect=None)
            assert reply.status == "NO"
        with as_mail_user():
            courier_lock(site).unlink()
    assert site.agree(ANN).folders["INBOX"] == before.folders["INBOX"]


def test_courier_waits_for_dovecot(site):
    """While Dovecot holds its lock, Courier gives out no UID."""
    with site.courier.imap(site.store.maildir(ANN)) as imap:
        made = take_as_dovecot(site)
        assert courier_lock(site).read_text(encoding="ascii") == f"{os.getpid()}:{HOST}"
        waiting = Waiting(imap, "SELECT INBOX")
        assert waiting.is_quiet()
        with as_mail_user():
            shown = os.lstat(dovecot_lock(site))
            assert (shown.st_dev, shown.st_ino) == made
            dovecot_lock(site).unlink()
        waiting.finish()
    assert not courier_lock(site).exists()
    site.agree(ANN)


def test_the_lock_taken_by_link(site):
    """link() onto the lock's name is the same request, with the same answer when it is held."""
    with as_mail_user():
        draft = dovecot_lock(site).with_name("temp.host.1.abc")
        draft.write_text(f"{os.getpid()}:{HOST}", encoding="ascii")
        os.link(draft, dovecot_lock(site))
        assert courier_lock(site).read_text(encoding="ascii") == f"{os.getpid()}:{HOST}"
        with pytest.raises(FileExistsError):
            os.link(draft, dovecot_lock(site))
        with pytest.raises(FileExistsError):
            os.open(dovecot_lock(site), os.O_RDWR | os.O_CREAT | os.O_EXCL)
        draft.unlink()
        dovecot_lock(site).unlink()
    assert not courier_lock(site).exists()
    site.agree(ANN)


def test_one_mailbox_at_a_time(site):
    """A lock on one mailbox holds up nobody in another one."""
    site.ask_dovecot(ANN)
    lock = site.seen(ANN, "INBOX.Sent") / "dovecot-uidlist.lock"
    with as_mail_user():
        lock.write_text(f"{os.getpid()}:{HOST}", encoding="ascii")
    with site.courier.imap(site.store.maildir(ANN)) as imap:
        imap.select("INBOX")
    with site.dovecot.imap(ANN) as imap:
        imap.append("INBOX", letter(1), "\\Seen")
        imap.append("INBOX.Lists", letter(2), "\\Seen")
    with as_mail_user():
        lock.unlink()
    site.agree(ANN)


def test_dovecot_breaks_the_lock_of_a_dead_courier(site, dead_pid):
    """A lock whose process is gone holds up Dovecot for some seconds only."""
    take_as_courier(site, f"{dead_pid}:{HOST}")
    with site.dovecot.imap(ANN) as imap:
        imap.append("INBOX", letter(1), "\\Seen")
    assert not courier_lock(site).exists()
    site.agree(ANN)


def test_dovecot_breaks_an_old_lock_of_another_host(site):
    """A lock of another host counts for two minutes, as it does for Courier."""
    take_as_courier(site, "4711:elsewhere")
    old = time.time() - 130
    os.utime(courier_lock(site), (old, old))
    with site.dovecot.imap(ANN) as imap:
        imap.append("INBOX", letter(1), "\\Seen")
    assert not courier_lock(site).exists()
    site.agree(ANN)


def test_dovecot_honours_a_fresh_lock_of_another_host(site):
    """The process of another host cannot be asked, so its lock counts."""
    with site.dovecot.imap(ANN) as imap:
        expunge_first(imap)
        take_as_courier(site, "4711:elsewhere")
        waiting = Waiting(imap, "EXPUNGE")
        assert waiting.is_quiet(4)
        with as_mail_user():
            courier_lock(site).unlink()
        waiting.finish()
    site.agree(ANN)


def take_when_free(site):
    """Dovecot's lock, when whoever has it has let it go."""
    def is_taken():
        with contextlib.suppress(FileExistsError):
            return take_as_dovecot(site)

    wait_until(is_taken, "the lock is free")


def in_a_child(act):
    """The pid of a copy of this process that acts, and does nothing else that a test does."""
    child = os.fork()
    if child == 0:
        try:
            act()
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    return child


def test_courier_breaks_the_lock_of_a_dead_dovecot(site):
    """A lock that a dead Dovecot left behind holds up Courier for some seconds only."""
    child = in_a_child(lambda: take_as_dovecot(site))
    os.waitpid(child, 0)
    assert courier_lock(site).read_text(encoding="ascii") == f"{child}:{HOST}"
    with site.courier.imap(site.store.maildir(ANN)) as imap:
        imap.select("INBOX")
    assert not courier_lock(site).exists()
    site.agree(ANN)


@contextlib.contextmanager
def holder(site):
    """The pid of a process that holds the lock and does nothing more."""
    answer, say = os.pipe()

    def hold():
        take_when_free(site)
        os.write(say, b"!")
        signal.pause()

    child = in_a_child(hold)
    os.close(say)
    try:
        assert os.read(answer, 1), "the lock is taken"
        yield child
    finally:
        with contextlib.suppress(ChildProcessError):  # it was waited for
            if os.waitpid(child, os.WNOHANG) == (0, 0):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        os.close(answer)


def test_the_holder_ends_with_the_daemon(site):
    """kill -9 of the daemon: whoever holds the lock must not see its calls fail. Mounting again
    frees the lock."""
    with holder(site) as pid:
        site.mount.kill()
        _, status = os.waitpid(pid, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
    assert courier_lock(site).exists()
    site.mount.start()
    wait_until(lambda: not courier_lock(site).exists(), "the lock is released")
    site.agree(ANN)


def test_a_new_daemon_releases_what_a_dead_one_left(site):
    """kill -9 of the daemon and its keeper: the holder lives, and mounting again frees its lock."""
    with holder(site):
        os.kill(child_of(site.mount.process.pid), signal.SIGKILL)
        site.mount.kill()
        assert courier_lock(site).exists()
        site.mount.start()
        wait_until(lambda: not courier_lock(site).exists(), "the lock is released")
        site.agree(ANN)


def test_the_list_looks_new_when_the_holder_died(site):
    """Its owner may have left an index that believes to know the list as it is."""
    with site.dovecot.imap(ANN) as imap:
        imap.select("INBOX")
    uidlist = site.seen(ANN) / "dovecot-uidlist"
    before = uidlist.stat()
    with holder(site):
        pass
    wait_until(lambda: not courier_lock(site).exists(), "the lock is released")
    after = uidlist.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
    assert after.st_mtime_ns > before.st_mtime_ns
    site.agree(ANN)


def append_under_the_lock(site, line, meanwhile=lambda: None):
    """How a process ends that takes the lock and appends a line to the list: its wait status."""
    def write():
        take_when_free(site)
        meanwhile()
        with as_mail_user():
            uidlist = os.open(site.seen(ANN) / "dovecot-uidlist", os.O_RDWR)
        os.lseek(uidlist, 0, os.SEEK_END)
        os.write(uidlist, line.encode())
        os.fdatasync(uidlist)

    return os.waitpid(in_a_child(write), 0)[1]


def was_ended(status):
    """Whether courierfs killed it."""
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def test_a_wrong_claim_ends_who_made_it(site):
    """Who gives a UID away that another message has must not come to tell it."""
    with site.dovecot.imap(ANN) as imap:
        imap.select("INBOX")
        taken = imap.uids()[-1]
    site.mount.expect_error("is ended")
    assert was_ended(append_under_the_lock(site, f"{taken} :1700000000.nobody\n"))
    site.agree(ANN)


def test_nothing_is_recorded_under_a_lock_that_was_lost(site):
    """Another host breaks the lock and takes it: the line written then goes nowhere."""
    site.agree(ANN)
    maildir = site.store.maildir(ANN)
    before = (maildir / UID_DATABASE).read_bytes()
    next_uid = UidDatabase.read(maildir).next_uid

    def another_takes_it():
        with as_mail_user():
            theirs = courier_lock(site).with_name("theirs")
            theirs.write_text("4711:elsewhere", encoding="ascii")
            theirs.replace(courier_lock(site))

    site.mount.expect_error("lock was taken away|is ended")
    assert was_ended(append_under_the_lock(site, f"{next_uid} :1700000000.new\n",
                                           another_takes_it))
    assert (maildir / UID_DATABASE).read_bytes() == before
    with as_mail_user():
        assert courier_lock(site).read_text(encoding="ascii") == "4711:elsewhere"
        courier_lock(site).unlink()
    site.agree(ANN)


def test_nothing_is_recorded_over_what_another_recorded(site):
    """A Courier that lost its lock saves all the same: its UIDs stay, and are given to nobody else."""
    site.agree(ANN)
    maildir = site.store.maildir(ANN)
    database = maildir / UID_DATABASE
    next_uid = UidDatabase.read(maildir).next_uid
    header, _, lines = database.read_text(encoding="utf-8").partition("\n")
    saved = (header.rpartition(" ")[0] + f" {next_uid + 1}\n{lines}"
             f"{next_uid} 1700000000.theirs\n").encode()

    def another_saves():
        with as_mail_user():
            (maildir / "cur" / "1700000000.theirs:2,").write_bytes(letter(1))
            draft = maildir / "tmp" / "draft"
            draft.write_bytes(saved)
            draft.replace(database)

    site.mount.expect_error("was replaced|is ended")
    assert was_ended(append_under_the_lock(site, f"{next_uid} :1700000000.ours\n",
                                           another_saves))
    assert database.read_bytes() == saved
    site.agree(ANN)


def test_unmounting_releases_the_lock(site):
    """An orderly end leaves no lock behind either."""
    take_as_dovecot(site)
    site.mount.remount()
    assert not courier_lock(site).exists()
    site.agree(ANN)


def test_the_lock_of_a_killed_dovecot(site):
    """imap killed while it waits or works leaves nothing that stops the next one."""
    for _ in range(5):
        imap = site.dovecot.imap(ANN)
        imap.connection.send(b"a SELECT INBOX\r\nb STORE 1:* +FLAGS (\\Answered)\r\n"
                             b"c STORE 1:* -FLAGS (\\Answered)\r\n")
        os.kill(imap.connection.pid, 9)
        imap.close()
    site.agree(ANN)


def test_mail_that_comes_to_cur_while_dovecot_changes_it(site):
    """As Courier's POP3 server moves it, without the lock: the next grant may not see it, a later one does
    (cur_complete.c). It gets one UID, and Courier and Dovecot know it by that."""
    before = site.agree(ANN)
    cur = site.store.maildir(ANN) / "cur"

    def misses(number):
        base = f"1700100000.M{number}P1.here,S={len(letter(number))}"
        take_as_dovecot(site)
        with as_mail_user():
            shown = next(path for path in (site.seen(ANN) / "cur").iterdir() if "F" not in path.name)
            head, _, flags = shown.name.rpartition(":2,")
            shown.rename(shown.with_name(f"{head}:2,F{flags}"))
            (cur / f"{base}:2,").write_bytes(letter(number))
            dovecot_lock(site).unlink()
        take_as_dovecot(site)
        with as_mail_user():
            dovecot_lock(site).unlink()
        return base not in UidDatabase.read(cur.parent).uids

    met = next((number for number in range(5) if misses(number)), None)
    assert met is not None, "the moment that this is about did not come"
    with site.dovecot.imap(ANN) as imap:
        imap.select("INBOX")

        def is_there():
            imap.command("NOOP")
            return len(imap.uids()) == len(before.folders["INBOX"].messages) + met + 1

        wait_until(is_there, "Dovecot sees it")
        uids = {int(uid) for uid in imap.uids()}
    after = site.agree(ANN).folders["INBOX"]
    assert set(after.messages) == uids
    assert before.folders["INBOX"].messages.keys() < uids and after.next_uid == max(uids) + 1
