"""`scripts/import-mboxes`: all users of a UW-IMAP site, with folders of any name."""

import contextlib
import os
import random
import signal
from pathlib import Path

import pytest

from servers.answers import (
    KEEPS_NO_FOLDER, ask_folder, different_folder, nothing_in, subscriptions)
from servers.dovecot import Dovecot
from servers.lab import MAIL_GID, MAIL_UID, STORES, TOP, children, wait_until
from servers.mboxes import Mbox

pytestmark = [pytest.mark.once, pytest.mark.skipif(
    bool(STORES), reason="nothing here depends on the store's disk")]

SCRIPT = TOP / "scripts" / "import-mboxes"
SEED = int(os.environ.get("COURIERFS_SEED") or random.randrange(1 << 31))

# UW-IMAP's file, and Courier's folder.
FOLDERS = {
    b"Sent": "INBOX.Sent",
    b"Work/2019/Plan": "INBOX.Work.2019.Plan",
    b"Work/a.b": "INBOX.Work.a_b",
    b"Work/a_b": "INBOX.Work.a_b_2",
    b"Entw&APw-rfe": "INBOX.Entwürfe",
    b"R&-D": "INBOX.R&D",
    b"AT&T": "INBOX.AT&T",
    "Später".encode(): "INBOX.Später",
    "später".encode("latin-1"): "INBOX.später_2",
    b"two words, 100% * [x] \"y\"": "INBOX.two words, 100_ _ [x] \"y\"",
    b"inbox": "INBOX.inbox_2",
    b"empty": "INBOX.empty",
}


class UwSite:
    """Users with mboxes as UW-IMAP has them."""

    def __init__(self, lab, users):
        self._lab = lab
        self.path = lab.new_directory("uwsite")
        self.report = self.path / "report"
        (self.path / "spool").mkdir()
        (self.path / "passwd").write_text("".join(
            f"{user}:x:{MAIL_UID}:{MAIL_GID}::{self.home(user)}:/bin/sh\n" for user in users))
        (self.path / "group").write_text(f"mail:x:{MAIL_GID}:\n")
        for user in users:
            self.home(user).mkdir(parents=True)
            os.chown(self.home(user), MAIL_UID, MAIL_GID)

    def home(self, user):
        """A user's home directory."""
        return self.path / "home" / user

    def maildir(self, user):
        """What the import makes."""
        return self.home(user) / "Maildir"

    def write(self, user, name, mbox):
        """A folder of the user's; None is the INBOX."""
        place = (os.fsencode(self.path / "spool" / user) if name is None
                 else os.path.join(os.fsencode(self.home(user)), b"mail", name))
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as file:
            file.write(mbox)
        return place

    def command(self, *words):
        """The command line."""
        return [SCRIPT, "--inbox", f"{self.path}/spool/{{user}}", "--report", self.report, *words]

    def environment(self):
        """In which the users exist."""
        return {"PATH": "/usr/bin:/bin", "TZ": "UTC", "LD_PRELOAD": "libnss_wrapper.so",
                "NSS_WRAPPER_PASSWD": str(self.path / "passwd"),
                "NSS_WRAPPER_GROUP": str(self.path / "group")}

    def run(self, *words, expect=0):
        """Runs it; (standard output, standard error)."""
        done = self._lab.run(self.command(*words), env=self.environment())
        out, err = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == expect, f"{done.returncode}: {out}{err}"
        return out, err

    def reported(self):
        """[[user, mbox, folder, status, text]]."""
        return [line.split("\t") for line in self.report.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(name="uw")
def make_uw(lab):
    """Ann has everything, bob an INBOX only, cem nothing at all."""
    site = UwSite(lab, ["ann", "bob", "cem"])
    print(f"COURIERFS_SEED={SEED}")
    site.write("ann", None, Mbox(SEED).data)
    site.write("bob", None, Mbox(SEED + 1).data)
    for number, name in enumerate(FOLDERS, start=2):
        site.write("ann", name, b"" if name == b"empty" else Mbox(SEED + number).data)
    site.write("ann", b"notes.txt", b"no mbox\n")
    site.write("ann", b".hidden", Mbox(SEED).data)
    names = [b"INBOX", b"mail/Sent", b"mail/Entw&APw-rfe", b"mail/Gone", b"mail/Work/a_b"]
    (site.home("ann") / ".mailboxlist").write_bytes(b"\n".join(names) + b"\n")
    return site


def ask_courier(courier, maildir):
    """{folder: Folder} and the subscriptions that Courier shows."""
    with courier.imap(maildir) as imap:
        names = sorted(name for name, attributes in imap.folders().items()
                       if not attributes & KEEPS_NO_FOLDER)
        return {name: ask_folder(imap, name) for name in names}, subscriptions(imap)


def test_a_site(courier, lab, uw):
    """Every folder is there under its name, with what Dovecot shows of the mbox."""
    out, err = uw.run("ann", "bob", "cem")
    assert err == "" and out == f"{len(FOLDERS) + 4} imported, 1 skipped\n"
    folders, subscribed = ask_courier(courier, uw.maildir("ann"))
    assert set(folders) == {"INBOX", *FOLDERS.values()}
    assert subscribed == {"INBOX", "INBOX.Sent", "INBOX.Entwürfe", "INBOX.Work.a_b_2"}
    asked = lab.new_directory("asked", owned_by_mail_user=True)
    dovecot = Dovecot(lab, asked)
    for number, (name, folder) in enumerate(FOLDERS.items(), start=2):
        if name == b"empty":
            assert not folders[folder].messages
            continue
        path = asked / str(number)
        path.write_bytes(Mbox(SEED + number).data)
        os.chown(path, MAIL_UID, MAIL_GID)
        with dovecot.imap("uw", mail_location=f"mbox:{asked}:INBOX={path}",
                          mbox_write_locks="fcntl") as imap:
            before = ask_folder(imap, "INBOX", read_only=True)
        nothing_in(different_folder(folder, before, folders[folder]), f"{name} changed")
    for user in ("bob", "cem"):
        assert set(ask_courier(courier, uw.maildir(user))[0]) == {"INBOX"}


def test_the_report(uw):
    """Has a line for each mbox, and says which names were changed."""
    uw.run("ann", "cem")
    lines = uw.reported()
    told = {line[2]: line[4] for line in lines if line[0] == "ann" and line[3] == "imported"}
    assert set(told) == {"INBOX", "-", *FOLDERS.values()}
    assert told["-"] == "4 subscriptions, 1 of folders that are not there"
    assert "the name was changed" in told["INBOX.Work.a_b"]
    assert "'Work.a_b' was taken" in told["INBOX.Work.a_b_2"]
    assert "changed" not in told["INBOX.Entwürfe"] and "taken" not in told["INBOX.Sent"]
    assert [line[3] for line in lines if "notes.txt" in line[1]] == ["skipped"]
    assert [line for line in lines if "sp\\xe4ter" in line[1]]
    assert not [line for line in lines if "hidden" in line[1]]


def test_again(uw):
    """The second run does nothing, and says so."""
    uw.run("ann", "bob", "cem")
    before = sorted((p, p.stat().st_ino, p.stat().st_ctime_ns) for p in uw.path.glob("home/**/*")
                    if not p.is_symlink())
    out, _ = uw.run("ann", "bob", "cem")
    assert "imported" not in out and "before" in out and "failed" not in out
    assert before == sorted((p, p.stat().st_ino, p.stat().st_ctime_ns)
                            for p in uw.path.glob("home/**/*") if not p.is_symlink())


def test_failures(uw):
    """One bad mbox is named, the status is 1, and all else is imported; then it is mended."""
    bad = uw.write("ann", b"Bad", b"From x Thu Jan  1 10:00:00 2015\nX-IMAPbase: 7 4294967295\n\nx\n")
    out, err = uw.run("ann", "bob", "nobody-there", expect=1)
    assert "2 failed" in out and "Bad" in err and "no UID left" in err
    assert "nobody-there: '-': no such user" in err
    assert (uw.maildir("ann") / ".Sent").is_dir() and uw.maildir("bob").is_dir()
    with open(bad, "wb") as file:
        file.write(Mbox(SEED).data)
    out, _ = uw.run("ann", "bob")
    assert "1 imported" in out
    assert (uw.maildir("ann") / ".Bad").is_dir()


def test_dry_run(uw):
    """Reads everything and makes nothing."""
    out, _ = uw.run("--dry-run", "ann", "bob", "cem")
    assert f"{len(FOLDERS) + 3} imported" in out
    assert not uw.maildir("ann").exists() and not uw.maildir("cem").exists()


def reap(program):
    """Whether there are still processes of this name, which are this one's children by now."""
    left = False
    for pid in children():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == program:
                left |= os.waitpid(pid, os.WNOHANG) == (0, 0)
    return left


def test_killed_and_started_again(courier, lab, uw):
    """What is there is whole; the next run makes the rest."""
    process = lab.spawn(uw.command("--jobs", "1", "ann", "bob"), env=uw.environment(),
                        start_new_session=True)
    wait_until(lambda: (uw.maildir("ann") / ".Sent").exists() or process.poll() is not None,
               "a folder is imported")
    os.killpg(process.pid, signal.SIGKILL)
    lab.end(process)
    # A process that nobody reaped counts as alive.
    wait_until(lambda: not reap("courierctl"), "all are dead")
    assert not uw.maildir("bob").exists()
    uw.run("ann", "bob")
    folders, _ = ask_courier(courier, uw.maildir("ann"))
    assert set(folders) == {"INBOX", *FOLDERS.values()}
    assert not list((uw.maildir("ann") / "tmp").glob("courierfs*"))


def test_maildirs_of_virtual_users(uw):
    """In another place, with one owner: directories above are made."""
    target = uw.path / "store"
    target.mkdir()
    uw.run("--maildir", f"{target}/{{domain}}/{{name}}/Maildir", "--owner", "ann",
           "--inbox", f"{uw.path}/spool/{{name}}", "--folders", f"{uw.path}/home/{{name}}/mail",
           "ann@example.org", "bob@example.org")
    for user in ("ann", "bob"):
        maildir = target / "example.org" / user / "Maildir"
        assert (maildir / "courierimapuiddb").stat().st_uid == MAIL_UID
        assert maildir.parent.stat().st_uid == MAIL_UID
    assert (target / "example.org/ann/Maildir/.Work.2019.Plan").is_dir()
    assert not uw.maildir("ann").exists()
