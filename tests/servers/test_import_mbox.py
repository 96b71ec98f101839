"""`courierctl import-mbox`: what UW-IMAP's clients hold is what Courier shows them afterwards."""

import contextlib
import fcntl
import os
import random
import re
import shutil
import signal
import subprocess

import pytest

from servers.answers import ask_folder, different_folder, nothing_in
from servers.conversion import COURIERCTL
from servers.dovecot import Dovecot
from servers.lab import MAIL_GID, MAIL_UID, STORES, acting_as, wait_until
from servers.mboxes import INTERNAL, Mbox, UwImap, with_dos_ends
from servers.mount import Mount

pytestmark = [pytest.mark.once, pytest.mark.skipif(
    bool(STORES), reason="nothing here depends on the store's disk")]

SEED = int(os.environ.get("COURIERFS_SEED") or random.randrange(1 << 31))
CLEAN = [Mbox(SEED + n) for n in range(6)]
BROKEN = [Mbox(SEED + 100 + n, broken=True) for n in range(12)]

FIRST = (b"From a@b Thu Jan  1 10:00:01 2015\nX-IMAPbase: 77 9 Foo\nX-UID: 3\n"
         b"Subject: one\n\nbody\n\n")
# Without Status, so UW-IMAP writes (mboxes.py, settle).
DELIVERED = b"From a@b Sat Jan 31 23:59:59 2015\nSubject: delivered\n\nbody\n\n"
SECOND = b"From a@b Thu Jan  1 10:00:02 2015\nX-UID: 5\nSubject: two\n\nbody\n\n"


@pytest.fixture(name="home")
def make_home(lab):
    """The directory that a maildir is made in."""
    return lab.new_directory("home", owned_by_mail_user=True)


@pytest.fixture(name="uw")
def make_uw(lab):
    """UW-IMAP's code."""
    return UwImap(lab)


@pytest.fixture(name="run")
def make_run(lab):
    """Runs courierctl import-mbox; (standard output, standard error)."""
    def run(*words, expect=0, zone="UTC"):
        done = lab.run([COURIERCTL, "import-mbox", *words], env={"TZ": zone})
        out, err = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == expect, f"{done.returncode}: {out}{err}"
        return out, err

    return run


@pytest.fixture(name="ask_uw_mbox")
def make_asking(lab, uw):
    """What a native Dovecot shows of an mbox."""
    dovecot = Dovecot(lab, lab.new_directory("nothing"))
    boxes = uw.home / "boxes"
    with acting_as(MAIL_UID, MAIL_GID):
        boxes.mkdir()

    def ask(path):
        with dovecot.imap("uw", mail_location=f"mbox:{boxes}:INBOX={path}",
                          mbox_write_locks="fcntl") as imap:
            return ask_folder(imap, "INBOX", read_only=True)

    return ask


def ask_courier(courier, maildir):
    """What Courier shows of a maildir's INBOX."""
    with courier.imap(maildir) as imap:
        return ask_folder(imap, "INBOX")


def write(lab, data):
    """A file with an mbox that only root may read."""
    path = lab.new_directory("mbox") / "box"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("dos", [False, True], ids=["unix", "dos"])
@pytest.mark.parametrize("number", range(len(CLEAN)))
def test_courier_shows_what_dovecot_shows_of_the_mbox(courier, lab, uw, run, home, ask_uw_mbox,
                                                      number, dos):
    """UIDVALIDITY, UIDs, flags, keywords, INTERNALDATE, sizes, and every byte."""
    print(f"COURIERFS_SEED={SEED}")
    data = with_dos_ends(CLEAN[number].data) if dos else CLEAN[number].data
    path = write(lab, data)
    before = ask_uw_mbox(uw.write("box", data))
    run(path, home / "Maildir")
    after = ask_courier(courier, home / "Maildir")
    nothing_in(different_folder("INBOX", before, after), "the import changed")
    assert before.next_uid == after.next_uid and before.messages
    assert path.read_bytes() == data
    with Mount(lab, home) as mount:
        dovecot = Dovecot(lab, mount.point)
        with dovecot.imap("x@y", mail_location=f"maildir:{mount.point}/Maildir:UTF-8") as imap:
            mounted = ask_folder(imap, "INBOX")
    nothing_in(different_folder("INBOX", after, mounted), "the mount shows")


@pytest.mark.parametrize("number", range(len(BROKEN)))
def test_uids_are_those_that_uw_imap_gives(courier, uw, run, home, number):
    """Also where numbers are missing, double, of elsewhere or none: UW-IMAP's code is asked."""
    print(f"COURIERFS_SEED={SEED}")
    path = uw.write("box", BROKEN[number].data + DELIVERED)
    run(path, home / "before")
    uw.settle("box")
    run(path, home / "after")
    before, after = (ask_courier(courier, home / name) for name in ("before", "after"))
    # It takes a new UIDVALIDITY where numbers are not in order; ours names nothing twice either way.
    nothing_in(different_folder("INBOX", before, after, same_validity=False), "UW-IMAP gave")
    assert before.next_uid == after.next_uid
    written = re.findall(rb"^X-UID: (\d+)$", path.read_bytes(), re.MULTILINE)
    assert [int(uid) for uid in written] == sorted(before.messages)


def test_an_mbox_that_uw_imap_made(courier, uw, run, home, ask_uw_mbox):
    """With its first message, which no client sees."""
    uw.write("from", CLEAN[0].data)
    uw.mailutil("create", "made")
    uw.mailutil("append", "-kw", "from", "made")
    uw.settle("made")
    path = uw.home / "made"
    assert b"DON'T DELETE THIS MESSAGE" in path.read_bytes()
    before = ask_uw_mbox(path)
    run(path, home / "Maildir")
    after = ask_courier(courier, home / "Maildir")
    nothing_in(different_folder("INBOX", before, after), "the import changed")
    assert any("$Label1" in message.flags for message in after.messages.values())
    assert not [n for n in (home / "Maildir/cur").iterdir() if b"DON'T" in n.read_bytes()]


def test_pop3_keeps_the_order_of_the_mbox(courier, lab, run, home):
    """Also where dates are not in order."""
    dates = ["Thu Jan  1 10:00:01 2015", "Wed Jan  1 10:00:01 2014", "Fri Jan  1 10:00:01 2016",
             "Thu Jan  1 10:00:01 1970", "Thu Jan  1 10:00:01 2015"]
    run(write(lab, "".join(f"From x {date}\nSubject: {number}\n\n\n"
                           for number, date in enumerate(dates)).encode()), home / "Maildir")
    with courier.pop3(home / "Maildir") as pop3:
        subjects = [pop3.top(number).partition(b"\r\n")[0] for number in range(1, 6)]
    assert subjects == [f"Subject: {number}".encode() for number in range(5)]


@pytest.mark.parametrize("line, zone, shown", [
    ("Thu Jan  1 10:00:00 2015", "UTC", 1420106400),
    ("Thu Jan  1 10:00:00 2015", "Europe/Berlin", 1420102800),
    ("Wed Jul  1 10:00:00 2015", "Europe/Berlin", 1435737600),
    ("Thu Jan  1 10:00:00 2015 +0200", "Europe/Berlin", 1420099200),
    ("Thu Jan  1 10:00:00 -0130 2015", "UTC", 1420111800),
    ("Thu Jan  1 10:00 EST 2015", "UTC", 1420124400),
    ("Thu Jan  1 10:00:00 2015 remote from host", "UTC", 1420106400),
    ("Wed Jan  1 10:00:00 1969", "UTC", -31500000),
])
def test_dates(lab, run, home, line, zone, shown):
    """The time of a message is that of its first line, in the local zone where it names none."""
    run(write(lab, f"From a@b {line}\nA: b\n\nx\n".encode()), home / "Maildir", zone=zone)
    (name,) = (home / "Maildir/cur").iterdir()
    assert name.stat().st_mtime == shown


def test_content_length(courier, uw, run, home, ask_uw_mbox):
    """Believed where a message or nothing follows, as by Dovecot; else a From_ line parts messages."""
    inner = b"text\nFrom x@y Fri Jan  2 10:00:00 2015\nInner: 1\n\nin\n"
    start = b"From a@b Thu Jan  1 10:00:01 2015\n"
    data = (start + b"X-IMAPbase: 77 9\nContent-Length: %d\n\n" % len(inner) + inner + b"\n"
            + start + b"Content-Length: %d\n\n" % (len(inner) - 2) + inner + b"\n"
            + start + b"Content-Length: 99999999999999999999\n\n" + inner + b"\n"
            + start + b"Content-Length: %d\n\n" % len(inner) + inner + b"\n")
    path = uw.write("box", data)
    before = ask_uw_mbox(path)
    run(path, home / "Maildir")
    nothing_in(different_folder("INBOX", before, ask_courier(courier, home / "Maildir")), "changed")
    assert len(before.messages) > 4


def test_beyond_two_gigabytes(lab, run, home):
    """A message that large, one line of it, and one behind it; then the memory it took."""
    path = write(lab, FIRST.removesuffix(b"\n\n"))
    size = (1 << 31) + 1000
    with open(path, "r+b") as file:
        file.truncate(size)
        file.seek(0, os.SEEK_END)
        file.write(b"\n\n" + SECOND)
    # A heap of 200 MB: the message does not fit into it.
    done = lab.run(["/bin/sh", "-c", 'ulimit -v 400000; exec "$@"', "sh", COURIERCTL, "import-mbox",
                    path, home / "Maildir"], timeout=120)
    assert done.returncode == 0, done.stderr
    names = sorted((home / "Maildir/cur").iterdir())
    assert len(names) == 2 and names[0].stat().st_size > 1 << 31
    assert f",S={names[0].stat().st_size}," in names[0].name
    assert names[1].read_bytes() == b"Subject: two\n\nbody\n"
    lines = (home / "Maildir/courierimapuiddb").read_text().splitlines()
    assert lines[0] == "1 77 10" and [line.split()[0] for line in lines[1:]] == ["3", "5"]


def test_owner_and_modes(lab, run, home):
    """All is the owner's of the directory above, and nobody else's to read."""
    run(write(lab, FIRST + SECOND), home / "Maildir")
    run(write(lab, CLEAN[0].data), home / "Maildir/.Sent")
    for place in [home / "Maildir", *(home / "Maildir").rglob("*")]:
        st = place.stat()
        assert (st.st_uid, st.st_gid) == (MAIL_UID, MAIL_GID), place
        assert st.st_mode & 0o777 == (0o700 if place.is_dir() else 0o600), place
    assert (home / "Maildir/.Sent/maildirfolder").exists()
    assert not any((home / "Maildir/tmp").iterdir())


def test_quota_is_counted_anew(courier, lab, run, home):
    """Courier's file does not know of the folder that appeared."""
    run(write(lab, FIRST), home / "Maildir")
    courier.deliver_with_quota(home / "Maildir", b"Subject: x\n\nx\n")
    run(write(lab, FIRST + SECOND), home / "Maildir/.Sent")
    courier.deliver_with_quota(home / "Maildir", b"Subject: x\n\nx\n")
    # The definition, then lines that add up: bytes and messages.
    lines = (home / "Maildir/maildirsize").read_text().splitlines()[1:]
    assert sum(int(line.split()[1]) for line in lines) == 5


def test_quota_is_counted_anew_by_whoever_finds_the_folder_there(courier, lab, run, home):
    """The one before may have been killed right after the folder appeared."""
    run(write(lab, FIRST), home / "Maildir")
    sent = write(lab, FIRST + SECOND)
    run(sent, home / "Maildir/.Sent")
    shutil.move(home / "Maildir/.Sent", home / "aside")
    courier.deliver_with_quota(home / "Maildir", b"Subject: x\n\nx\n")
    shutil.move(home / "aside", home / "Maildir/.Sent")
    run(sent, home / "Maildir/.Sent")
    assert not (home / "Maildir/maildirsize").exists()


def test_again_changes_nothing(lab, run, home):
    """What was imported is known; another mbox, or the same one changed, is refused."""
    path = write(lab, FIRST + SECOND)
    run(path, home / "Maildir")
    def look():
        return sorted((place, place.stat().st_ino, place.stat().st_ctime_ns)
                      for place in home.rglob("*"))

    before = look()
    out, _ = run(path, home / "Maildir")
    assert "imported before" in out
    path.write_bytes(FIRST)
    _, err = run(path, home / "Maildir", expect=1)
    assert "File exists" in err and str(path) in err
    run(write(lab, FIRST + SECOND), home / "Maildir", expect=1)
    assert look() == before


@pytest.mark.parametrize("data, words", [
    (b"hello\n" + FIRST, "is no mbox"),
    (b"\n" + FIRST, "is no mbox"),
    (b"From here to there\n", "is no mbox"),
    (b"\0" * 100, "is no mbox"),
    (FIRST.replace(b" 9 ", b" 4294967295 ") + SECOND.replace(b"X-UID: 5\n", b""), "no UID left"),
    (FIRST + SECOND.replace(b"\n\n", b"\nX: " + b"x" * (65 << 20), 1), "its header has no end"),
])
def test_what_cannot_be_imported(lab, run, home, data, words):
    """It is named, and nothing is left of it."""
    path = write(lab, data)
    _, err = run(path, home / "Maildir", expect=1)
    assert words in err and str(path) in err
    assert not any(home.iterdir())


def test_an_empty_mbox(courier, lab, run, home):
    """Becomes an empty mailbox."""
    run(write(lab, b""), home / "Maildir")
    assert not ask_courier(courier, home / "Maildir").messages


def test_a_mailbox_with_nothing_but_the_internal_message(courier, lab, run, home):
    """Its UIDVALIDITY counts."""
    run(write(lab, INTERNAL.replace(b"%b", b"4711 0000000012")), home / "Maildir")
    folder = ask_courier(courier, home / "Maildir")
    assert (folder.uidvalidity, folder.next_uid, folder.messages) == (4711, 13, {})


def test_dry_run(lab, run, home):
    """Tells the same and writes nothing."""
    path = write(lab, CLEAN[0].data)
    told, _ = run("--dry-run", path, home / "Maildir")
    told_alone, _ = run("--dry-run", path)
    assert not any(home.iterdir())
    done, _ = run(path, home / "Maildir")
    assert told == done.replace("\n", " (nothing was written)\n")
    assert told_alone.rpartition(": ")[2] == told.rpartition(": ")[2]


def test_locked_by_others(lab, run, home):
    """A program that delivers holds the mbox: nothing happens."""
    path = write(lab, FIRST)
    with open(path, "r+b") as file:
        for lock, unlock in ((lambda: fcntl.lockf(file, fcntl.LOCK_EX),
                              lambda: fcntl.lockf(file, fcntl.LOCK_UN)),
                             (lambda: fcntl.flock(file, fcntl.LOCK_EX),
                              lambda: fcntl.flock(file, fcntl.LOCK_UN)),
                             (lambda: path.with_suffix(".lock").touch(),
                              lambda: path.with_suffix(".lock").unlink())):
            lock()
            _, err = run(path, home / "Maildir", expect=1)
            assert "cannot lock" in err and not any(home.iterdir())
            unlock()
    run(path, home / "Maildir")


def test_changed_meanwhile(lab, home):
    """A program that knows no lock delivered: nothing appears."""
    path = write(lab, FIRST + SECOND * 20000)
    process = lab.spawn([COURIERCTL, "import-mbox", path, home / "Maildir"], stderr=subprocess.PIPE)
    wait_until(lambda: list(home.glob("courierfs-import*/cur/*")), "a message is written")
    with open(path, "ab") as file:
        file.write(SECOND)
    err = process.stderr.read().decode()
    process.stderr.close()
    assert lab.end(process) == 1 and "changed while it was read" in err
    assert not any(home.iterdir())


def test_killed_at_any_moment(lab, run, home):
    """There is no maildir, or the whole; the next run finishes, and nothing is left over."""
    dice = random.Random(SEED)
    print(f"COURIERFS_SEED={SEED}")
    path = write(lab, FIRST + SECOND.replace(b"X-UID: 5\n", b"") * 300)
    run(write(lab, b""), home / "Maildir")
    target = home / "Maildir/.Sent"
    work = home / "Maildir/tmp"
    killed = 0
    for _ in range(15):
        wanted = dice.randrange(300)
        process = lab.spawn([COURIERCTL, "import-mbox", path, target], stdout=subprocess.DEVNULL)

        def far_enough(process=process, wanted=wanted):
            with contextlib.suppress(OSError):
                if any(len(os.listdir(place / "cur")) > wanted
                       for place in work.glob("courierfs-import*")):
                    return True
            return process.poll() is not None

        wait_until(far_enough, "some messages are written")
        process.send_signal(signal.SIGKILL)
        lab.end(process)
        if target.exists():
            assert len(list((target / "cur").iterdir())) == 301
            shutil.rmtree(target)
            continue
        killed += 1
        assert len(list(work.iterdir())) <= 1
    assert killed > 0
    run(path, target)
    assert not any(work.iterdir())
    assert len(list((target / "cur").iterdir())) == 301
    lines = (target / "courierimapuiddb").read_text().splitlines()
    assert len(lines) == 302 and lines[0] == "1 77 310"


def test_two_at_once(lab, run, home):
    """One of them makes it, whole; the other is refused or finds it made."""
    path = write(lab, FIRST + SECOND.replace(b"X-UID: 5\n", b"") * 200)
    runs = [lab.spawn([COURIERCTL, "import-mbox", path, home / "Maildir"],
                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(4)]
    statuses = [lab.end(process) for process in runs]
    assert 0 in statuses
    assert [place.name for place in home.iterdir()] == ["Maildir"]
    assert len(list((home / "Maildir/cur").iterdir())) == 201
    run(path, home / "Maildir")
