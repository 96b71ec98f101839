"""`courierctl convert`: whom it means, how fast, what it says, and what it refuses to do."""

import os
import re
import signal
import time

import pytest

from servers.answers import ask_folder, nothing_in, same
from servers.conversion import Ctl
from servers.courier_files import UidDatabase, edit
from servers.dovecot import Dovecot
from servers.imap import Refused
from servers.lab import MAIL_GID, MAIL_UID, STORES, as_mail_user, wait_until
from servers.mount import Mount
from servers.store import ANN, BOB, CEM, EVE, FAY, GUS, USERS, letter
from servers.test_convert import ask, ask_all

MARK = "courierfs-aside/courierimapuiddb"


@pytest.fixture(name="ctl")
def make_ctl(lab, store):
    """courierctl for the store."""
    return Ctl(lab, store)


def converted(store):
    """The users whose INBOX is Dovecot's."""
    return {user for user in USERS if (store.maildir(user) / MARK).exists()}


def look(store):
    """Everything there is, to see whether something changed."""
    return sorted((path, path.lstat().st_ino, path.lstat().st_ctime_ns)
                  for path in store.path.rglob("*"))


@pytest.mark.parametrize("words, users", [
    (["example.org/ann/Maildir"], {ANN}),
    (["example.org/ann", "example.org/bob"], {ANN, BOB}),
    (["example.net"], {FAY, GUS}),
    (["example.net/*"], {FAY, GUS}),
    (["*/[ab]*/Maildir"], {ANN, BOB}),
    (["example.org/ann", "example.org/ann/Maildir", "*/ann"], {ANN}),
])
def test_accounts(ctl, words, users):
    """By path, by a directory above, by a glob; each one once."""
    out, _ = ctl.run("convert", *words)
    assert f"{len(users)} of {len(users)} accounts" in out
    assert converted(ctl.store) == users


def test_accounts_from_a_file(ctl):
    """One a line; what is not there is named, the others are done."""
    names = ctl.state / "names"
    names.write_text("example.org/eve\nexample.org/nobody\n\nexample.net/f*\n")
    _, err = ctl.run("convert", "--from", names, expect=1)
    assert "'example.org/nobody'" in err
    assert converted(ctl.store) == {EVE, FAY}


def test_all_without_a_name(ctl):
    """And nothing is left of Courier's beside what is set aside."""
    ctl.run("convert", "--jobs", "8")
    assert converted(ctl.store) == set(USERS)
    left = [path for name in ("courierimapuiddb", "courierpop3dsizelist", "courierimapkeywords")
            for path in ctl.store.path.rglob(name) if "courierfs-aside" not in str(path)]
    assert not left


def test_dry_run(ctl):
    """Writes nothing, and says what the conversion then does."""
    before = look(ctl.store)
    told, _ = ctl.run("convert", "--dry-run")
    assert look(ctl.store) == before and not ctl.journal.exists()
    done, _ = ctl.run("convert")
    assert told == "would be: " + done


def test_rate(ctl):
    """At most so many mailboxes a second."""
    start = time.monotonic()
    ctl.run("convert", "--rate", "20", "example.org/bob")
    # Seven mailboxes: six pauses of a twentieth of a second.
    assert time.monotonic() - start > 6 / 20


def test_interrupted(lab, ctl):
    """SIGINT: what is begun is finished; started again it does the rest, each mailbox once."""
    process = lab.spawn(ctl.command("convert", "--rate", "10"))
    wait_until(lambda: ctl.journal.exists() and ctl.journal.stat().st_size > 0, "it has begun")
    process.send_signal(signal.SIGINT)
    assert lab.end(process) == 1
    first = ctl.journal.read_text()
    assert 0 < first.count(" done ") < 30
    with Mount(lab, ctl.store.path) as mount:
        half = ask_all(Dovecot(lab, mount.point))
    ctl.run("convert")
    done = re.findall(r" convert done '([^']*)': UIDVALIDITY", ctl.journal.read_text())
    assert len(done) == len(set(done)) == 30 and ctl.journal.read_text().startswith(first)
    native = Dovecot(lab, ctl.store.path)
    for user, answers in half.items():
        same(answers, ask(native, user), f"{user} after the rest")


def test_the_journal(ctl):
    """Says what was done to each mailbox."""
    ctl.run("convert", "example.org/cem")
    database = UidDatabase.read(ctl.store.maildir(CEM) / "courierfs-aside")
    (line,) = ctl.journal.read_text().splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} convert done 'example.org/cem/Maildir': "
        rf"UIDVALIDITY {database.uidvalidity}, next UID {database.next_uid}, "
        rf"{len(database.uids)} messages, .*", line), line


@pytest.mark.skipif(bool(STORES), reason="root is nobody there")
def test_owner_and_mode(ctl):
    """All that is made is the owner's, and as closed as the mailbox."""
    maildir = ctl.store.maildir(ANN)
    with as_mail_user():
        (maildir / ".Sent").chmod(0o750)
    ctl.run("convert")
    for path in ctl.store.path.rglob("*"):
        assert (path.stat().st_uid, path.stat().st_gid) == (MAIL_UID, MAIL_GID), path
    assert (maildir / "dovecot-uidlist").stat().st_mode & 0o777 == 0o600
    assert (maildir / ".Sent/dovecot-uidlist").stat().st_mode & 0o777 == 0o640


def test_a_damaged_mailbox(lab, ctl):
    """Is named and stays Courier's, and so does what is above it; all else is converted."""
    folder = ctl.store.folder(GUS, "INBOX.A.B")
    edit(folder / "courierimapuiddb", lambda content: b"1 what is this\n" + content)
    before = (folder / "courierimapuiddb").read_bytes()
    out, err = ctl.run("convert", expect=1)
    assert "courierimapuiddb' line 1: " in err and "1 failed" in out
    assert "cannot convert 'example.net/gus/Maildir/.A.B'" in err
    assert converted(ctl.store) == set(USERS) - {GUS}
    assert (folder / "courierimapuiddb").read_bytes() == before
    assert (ctl.store.folder(GUS, "INBOX.A.B.C") / MARK).exists()
    assert not (ctl.store.folder(GUS, "INBOX.A") / MARK).exists()
    with Dovecot(lab, ctl.store.path).imap(BOB) as imap:
        assert imap.select("INBOX.Work.Plan")


def test_an_earlier_attempt(lab, ctl):
    """Dovecot's files that say something else are not touched, unless that is asked for."""
    with Mount(lab, ctl.store.path) as mount:
        before = ask(Dovecot(lab, mount.point), BOB)
    folder = ctl.store.folder(BOB, "INBOX.Work")
    database = UidDatabase.read(folder)
    text = f"3 V{database.uidvalidity} N99\n" + "".join(
        f"{uid + 40} :{base}\n" for base, uid in sorted(database.uids.items()))
    with as_mail_user():
        (folder / "dovecot-uidlist").write_text(text)
    # It is newer than Courier's, which must not matter.
    os.utime(folder / "courierimapuiddb", (1, 1))
    _, err = ctl.run("convert", "example.org/bob", expect=1)
    assert "names messages otherwise (--overwrite replaces it)" in err
    assert (folder / "dovecot-uidlist").read_text() == text
    assert UidDatabase.read(folder) == database
    ctl.run("convert", "--overwrite", "example.org/bob")
    same(before, ask(Dovecot(lab, ctl.store.path), BOB), "with --overwrite")


def test_an_earlier_attempt_that_agrees(lab, ctl):
    """Is no hindrance."""
    with Mount(lab, ctl.store.path) as mount:
        before = ask(Dovecot(lab, mount.point), BOB)
    folder = ctl.store.folder(BOB, "INBOX.Work")
    database = UidDatabase.read(folder)
    with as_mail_user():
        (folder / "dovecot-uidlist").write_text(
            f"3 V{database.uidvalidity} N{database.next_uid}\n" + "".join(
                f"{uid} :{base}\n" for base, uid in sorted(database.uids.items(),
                                                            key=lambda item: item[1])))
    ctl.run("convert", "example.org/bob")
    same(before, ask(Dovecot(lab, ctl.store.path), BOB), "after an attempt that agrees")


def test_more_keywords_than_dovecot_has_letters(courier, lab, ctl):
    """26 are carried over, the journal says that there are more, and revert brings all back."""
    names = [f"keyword{number}" for number in range(30)]
    with courier.imap(ctl.store.maildir(BOB)) as imap:
        imap.select("INBOX.Work")
        uid = imap.uids()[0]
        for name in names:
            imap.command("UID STORE", uid, f"+FLAGS ({name})")
        before = imap.flags()
    ctl.run("convert", "example.org/bob")
    assert "beyond the 26 that Dovecot can hold" in ctl.journal.read_text()
    folder = ctl.store.folder(BOB, "INBOX.Work")
    assert not [name for name in os.listdir(folder / "cur") if re.search("[{|}~]", name)]
    with Dovecot(lab, ctl.store.path).imap(BOB) as imap:
        imap.select("INBOX.Work")
        shown = imap.flags()[uid]
    assert len(shown & set(names)) == 26
    ctl.run("revert", "example.org/bob")
    with courier.imap(ctl.store.maildir(BOB)) as imap:
        imap.select("INBOX.Work")
        assert imap.flags() == before


def test_courier_is_kept_out(courier, lab, ctl):
    """A Courier that is started by mistake refuses its users, with a message, and changes nothing."""
    ctl.run("convert", "example.org/ann")
    before = look(ctl.store)
    with pytest.raises((Refused, ConnectionError, EOFError)) as refusal:
        courier.imap(ctl.store.maildir(ANN))
    assert "moved" in str(refusal.value).lower() or "dovecot" in str(refusal.value).lower()
    with pytest.raises((Refused, ConnectionError, EOFError)):
        courier.pop3(ctl.store.maildir(ANN))
    assert look(ctl.store) == before
    with courier.imap(ctl.store.maildir(BOB)) as imap:
        assert imap.select("INBOX")
    ctl.run("revert", "example.org/ann")
    with courier.imap(ctl.store.maildir(ANN)) as imap:
        assert imap.select("INBOX")


def test_couriers_lock_is_waited_for(lab, courier, ctl):
    """A live Courier with the lock: nothing is converted before it lets go."""
    lock = ctl.store.maildir(CEM) / "tmp" / "courier.lock"
    before = UidDatabase.read(ctl.store.maildir(CEM)) or "none"
    with as_mail_user():
        lock.write_text(f"{os.getpid()}:{os.uname().nodename}")
    process = lab.spawn(ctl.command("convert", "example.org/cem"))
    time_to_look = wait_until(lambda: (ctl.store.maildir(CEM) / "loginexec").exists(), "it began")
    assert time_to_look and process.poll() is None and not converted(ctl.store)
    assert (UidDatabase.read(ctl.store.maildir(CEM)) or "none") == before
    with as_mail_user():
        lock.unlink()
    assert lab.end(process) == 0
    assert converted(ctl.store) == {CEM}
    del courier


def test_two_at_once(lab, ctl):
    """Two courierctl on one store: one of them is refused, or each mailbox is converted once."""
    with Mount(lab, ctl.store.path) as mount:
        before = ask_all(Dovecot(lab, mount.point))
    other = Ctl(lab, ctl.store)
    runs = [lab.spawn(one.command("convert")) for one in (ctl, other)]
    for process in runs:
        lab.end(process)
    ctl.run("convert")
    native = Dovecot(lab, ctl.store.path)
    for user, answers in before.items():
        same(answers, ask(native, user), user)
    nothing_in(native.complaints(), "native Dovecot complained")


def test_mail_that_comes_meanwhile(lab, ctl):
    """Is found by the Dovecot that follows, under the next UID."""
    ctl.run("convert", "example.org/bob")
    native = Dovecot(lab, ctl.store.path)
    with native.imap(BOB) as imap:
        before = ask_folder(imap, "INBOX")
    native.deliver(BOB, letter(4000))
    with native.imap(BOB) as imap:
        after = ask_folder(imap, "INBOX")
    assert set(after.messages) - set(before.messages) == {before.next_uid}
