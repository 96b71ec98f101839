"""courierctl warm: sizes are known before the first POP3 client comes."""

import os
import time

import pytest

from servers.courier import deliver
from servers.dovecot import Dovecot
from servers.lab import as_mail_user
from servers.mount import COURIERCTL
from servers.store import ANN, CEM
from servers.test_cost import Counted
from servers.together import MIA, add_user

pytestmark = pytest.mark.any_layout

HEAD = b"Subject: s\nFrom: a@b\n\n"
# Line ends of all kinds; Courier counts others than Dovecot does.
MESSAGES = [
    HEAD + b"line1\nline2\n", HEAD + b"no newline", HEAD.replace(b"\n", b"\r\n") + b"crlf\r\n",
    HEAD.replace(b"\n", b"\r\n") + b"crlf, no newline", HEAD + b"bare\rcr\n",
    HEAD + b"l1\r\nl2\nl3\r\n", HEAD + b"nul\0nul\n", HEAD + b"a\r\r\nb\n", b"Subject: s\n\n",
    HEAD + b"x" * 70_000 + b"\r", HEAD + b"\r\n" * 40_000, HEAD + b"\n" * 40_000,
]


def run(site, *words, status=0, where=None):
    """Runs it; (standard output, standard error)."""
    done = site.lab.run([COURIERCTL, "warm", *words[:-1], where or site.mount.point, *words[-1:]])
    assert done.returncode == status, done.stderr.decode()
    return done.stdout.decode(), done.stderr.decode()


def warm(site, *words, status=0, where=None):
    """The same; standard output, or the errors where it must fail."""
    return run(site, *words, status=status, where=where)[1 if status else 0]


@pytest.fixture(name="mia")
def make_mia(site):
    """A user whose messages' names say nothing of sizes."""
    maildir = add_user(site, MIA)
    with as_mail_user():
        for number, message in enumerate(MESSAGES * 10):
            name = f"{1_700_000_000 + number}.M{number}P1.mx.example.org:2,{'S' * (number % 2)}"
            (maildir / "cur" / name).write_bytes(message)
    with site.courier.imap(maildir) as imap:
        imap.select("INBOX")
        assert len(imap.uids()) == len(MESSAGES) * 10
    return MIA


@pytest.fixture(name="has_cache")
def make_has_cache(site):
    """Whether the suite runs with the cache."""
    return "nocache" not in site.mount.options


def sizes_of(dovecot, user):
    """What Dovecot's POP3 server lists."""
    with dovecot.pop3(user) as pop3:
        return pop3.sizes()


def bodies_opened(site, user):
    """(sizes, how many files a first POP3 login opened)."""
    site.dovecot.forget_index()
    with Counted(site) as counted:
        sizes = sizes_of(site.dovecot, user)
    return sizes, counted.one("request", "open")


def test_the_first_pop3_login_reads_no_message(site, mia, has_cache):
    """Its sizes are Dovecot's own, on a plain copy of the maildir; also after a remount."""
    if not has_cache:
        assert "the mount has no cache" in warm(site, "*/mia/*", status=1)
        return
    copy = site.store.copy(site.lab)
    plain = Dovecot(site.lab, copy.path)
    expected = sizes_of(plain, mia)
    copy.discard()
    assert len(expected) == len(MESSAGES) * 10
    told = warm(site, "*/mia/*")
    assert f"1 mailboxes with {len(expected)} messages read" in told
    for _ in range(2):
        sizes, opened = bodies_opened(site, mia)
        assert sizes == expected
        assert opened < 10
        site.mount.remount()
    assert "0 mailboxes with 0 messages read, 1 had nothing to read" in warm(site, "*/mia/*")
    with site.dovecot.pop3(mia) as pop3:
        for number, size in enumerate(expected, start=1):
            assert len(pop3.retr(number)) - size in (0, 2)  # a last line gets its end


def test_all_mailboxes(site, has_cache):
    """Of a store with mailboxes of all ages; sessions that are open notice nothing; both servers agree."""
    if not has_cache:
        return
    with site.dovecot.imap(ANN) as imap:
        imap.select("INBOX")
        before = imap.uids()
        deliver(site.store.maildir(ANN), b"Subject: new\n\nnew\n")
        warm(site, "--jobs", "3", "*")
        imap.command("NOOP")
        assert imap.uids()[:len(before)] == before
        imap.command("FETCH 1:* (RFC822.SIZE BODY.PEEK[])")
    for user in (ANN, CEM):
        site.agree(user)
    warm(site, "*")


def test_what_cannot_be_read_is_passed_over(site, mia, has_cache):
    """The others are read all the same."""
    if not has_cache:
        return
    cur = site.store.maildir(mia) / "cur"
    names = sorted(os.listdir(cur))
    with as_mail_user():
        (cur / names[0]).unlink()
        (cur / names[1]).unlink()
        os.mkfifo(cur / names[1])
        (cur / names[2]).chmod(0)
    assert f"with {len(names) - 3} messages read" in warm(site, "*/mia/*")
    assert "with 0 messages read" in warm(site, "*/mia/*")
    with as_mail_user():
        (cur / names[1]).unlink()
        (cur / names[2]).chmod(0o600)


def test_a_mailbox_that_is_locked(site, mia, has_cache):
    """What was read is shown when the lock is gone; nothing is shown to its owner while he has it."""
    if not has_cache:
        return
    seen = site.seen(mia)
    with as_mail_user():
        (seen / "dovecot-uidlist").read_bytes()
        lock = os.open(seen / "dovecot-uidlist.lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        before = (seen / "dovecot-uidlist").read_bytes()
    told, errors = run(site, "*/mia/*", status=1)
    assert "holds its lock" in errors
    assert f"with {len(MESSAGES) * 10} messages read" in told and "1 failed" in told
    with as_mail_user():
        assert (seen / "dovecot-uidlist").read_bytes() == before
        os.close(lock)
        (seen / "dovecot-uidlist.lock").unlink()
    assert "with 0 messages read" in warm(site, "*/mia/*")
    with as_mail_user():
        assert (seen / "dovecot-uidlist").read_bytes().count(b" W") == len(MESSAGES) * 10
    assert bodies_opened(site, mia)[1] < 10


def test_no_faster_than_asked(site, mia, has_cache):
    """So many messages a second."""
    if not has_cache:
        return
    begin = time.monotonic()
    warm(site, "--rate", "100", "*/mia/*")
    assert time.monotonic() - begin >= len(MESSAGES) * 10 / 100 - 0.7


def test_no_mount(site):
    """It says so, once."""
    errors = warm(site, "*", status=1, where=site.store.path)
    assert errors == f"courierctl: cannot warm '{site.store.path}': this is no mount of courierfs\n"


@pytest.mark.ordinary_layout
def test_a_store_that_is_read_only(site, mia, has_cache):
    """A mount with -o ro has a cache, too; nothing in the store changes."""
    if not has_cache:
        return
    before = sorted((path, path.stat().st_mtime_ns) for path in site.store.maildir(mia).rglob("*"))
    site.mount.stop()
    site.mount.options.append("ro")
    site.mount.start()
    assert f"with {len(MESSAGES) * 10} messages read" in warm(site, "*/mia/*")
    with as_mail_user():
        assert (site.seen(mia) / "dovecot-uidlist").read_bytes().count(b" W") == len(MESSAGES) * 10
    after = sorted((path, path.stat().st_mtime_ns) for path in site.store.maildir(mia).rglob("*"))
    assert after == before
