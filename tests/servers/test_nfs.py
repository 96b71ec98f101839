"""The store on NFS, exported with root_squash; another client changes it on the server's side.

Run by scripts/nfs-vm. What is shown here only a real NFS client does: a root without rights, names
and attributes that it remembers, files that vanish on the server, rename flags that it refuses.
"""

import contextlib
import errno
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from servers.answers import digest, same
from servers.courier import deliver
from servers.courier_files import UID_DATABASE, UidDatabase, base_name
from servers.imap import Refused
from servers.lab import (
    MAIL_GID, MAIL_UID, SERVER_PATH, STORES, as_mail_user, looking_as_root, on_server, wait_until)
from servers.mount import Mount
from servers.store import ANN, BOB, CEM, DAN, GUS, Store, letter
from servers.test_lock import (
    Waiting, append_under_the_lock, courier_lock, dovecot_lock, expunge_first, holder,
    take_as_dovecot, was_ended)
from servers.test_passthrough import NOREPLACE, rename_with_flags

FOLDER = "INBOX.Lists.courier-users"

# An NFS client believes what it knows of a directory for this long, and then asks.
REMEMBERED = 60
SEEN_WITHIN = REMEMBERED + 30

pytestmark = pytest.mark.skipif(
    not (STORES and SERVER_PATH), reason="needs a store on NFS: scripts/nfs-vm runs this")


@pytest.fixture(name="other")
def make_other(site):
    """The store as another client of the server changes it: behind this client's back."""
    return Store(on_server(site.store.path))


def uids_of_courier(site, store, user, folder="INBOX"):
    """{digest: UID} of a mailbox that Courier opens on some client."""
    with site.courier.imap(store.maildir(user)) as imap:
        imap.select(folder)
        return digests(imap)


def digests(imap):
    """{digest: UID} of the selected mailbox."""
    if not imap.uids():
        return {}
    fetched = imap.command("UID FETCH 1:* (UID BODY.PEEK[])").fetched()
    return {digest(item["BODY[]"]): int(item["UID"]) for item in fetched}


def appended(reply):
    """The UID that an APPEND told."""
    return int(reply.code("APPENDUID").split()[-1])


# ---- whose rights --------------------------------------------------------------------------------

def test_the_daemon_reads_what_root_cannot(site):
    """The daemon is root, root may not even look into a maildir, and both servers agree."""
    status = Path(f"/proc/{site.mount.process.pid}/status").read_text(encoding="ascii")
    assert "\nUid:\t0\t" in status
    with looking_as_root():
        with pytest.raises(PermissionError):
            os.listdir(site.store.maildir(ANN))
        with pytest.raises(PermissionError):
            os.listdir(site.seen(ANN))
    site.agree(ANN)


def test_nothing_belongs_to_root_or_nobody(site, other):
    """Whatever is made through the mount is the mail user's, whoever else had a hand in it."""
    with site.dovecot.imap(ANN) as imap:
        imap.command("CREATE INBOX.Made")
        imap.append("INBOX.Made", letter(1), "\\Seen NewWord")
        imap.select("INBOX")
        imap.command("STORE 1:* +FLAGS (\\Flagged OtherWord)")
        imap.command("COPY 1:2 INBOX.Made")
        imap.command("SUBSCRIBE INBOX.Made")
    site.dovecot.deliver(ANN, letter(2))
    for user in (DAN, GUS):
        with site.dovecot.pop3(user) as pop3:
            pop3.dele(1)
    with holder(site):
        site.mount.kill()
    site.mount.start()  # which releases the lock that was left
    assert not courier_lock(site).exists()
    owners = {}
    with looking_as_root():
        for directory, names, files in os.walk(other.path):
            for name in [".", *names, *files]:
                made = os.lstat(os.path.join(directory, name))
                owners.setdefault((made.st_uid, made.st_gid), os.path.join(directory, name))
    assert owners.keys() == {(MAIL_UID, MAIL_GID)}, owners
    site.agree(ANN)


# ---- what NFS does otherwise ---------------------------------------------------------------------

def test_names_of_the_nfs_client_are_hidden(site, other):
    """An open file that is unlinked gets a name of the NFS client's, which nobody sees."""
    cur = site.seen(ANN) / "cur"
    with as_mail_user():
        name = os.listdir(cur)[0]
        content = (cur / name).read_bytes()
        with open(cur / name, "rb") as file:
            (cur / name).unlink()
            left = [n for n in os.listdir(other.maildir(ANN) / "cur") if n.startswith(".nfs")]
            assert len(left) == 1, "else there is nothing to hide"
            assert not [n for n in os.listdir(cur) if n.startswith(".nfs")]
            with pytest.raises(FileNotFoundError):
                os.stat(cur / left[0])
            assert file.read() == content
    wait_until(lambda: not list((other.maildir(ANN) / "cur").glob(".nfs*")), "it goes away")
    site.agree(ANN)


def test_rename_flags_are_not_there(site):
    """NFS knows neither flag; the mount says so, and new mail and size lists do without."""
    with as_mail_user():
        draft = site.seen(DAN) / "tmp" / "draft"
        draft.write_bytes(b"x")
        with pytest.raises(OSError) as caught:
            rename_with_flags(draft, draft.with_name("other"), NOREPLACE)
        assert caught.value.errno == errno.EINVAL
        draft.unlink()
    for user in (CEM, DAN):
        deliver(site.store.maildir(user), letter(1))
        with site.dovecot.pop3(user) as pop3:
            uidls = pop3.uidls()
        assert not any((site.store.maildir(user) / "new").iterdir())
        assert set(uidls) <= site.listed_uidls(user)
        assert [uidl for uidl, _ in site.agree(user).pop3] == uidls
    with as_mail_user():
        assert not [n for n in os.listdir(site.store.maildir(CEM) / "tmp") if "courierfs" in n]


def test_a_state_directory_on_nfs_is_refused(lab, site):
    """LMDB maps its file, which NFS cannot keep together: one clear line, status 1."""
    state = lab.new_directory("store", owned_by_mail_user=True)
    with looking_as_root():
        os.chown(on_server(state), 0, 0)
        (on_server(state) / "lock").touch(mode=0o666)
        (on_server(state) / "lock").chmod(0o666)
    mount = Mount(lab, site.store.path)
    mount.state = state
    done = lab.run(mount.command())
    with looking_as_root():
        shutil.rmtree(on_server(state))
    assert done.returncode == 1
    said = done.stderr.decode().strip().splitlines()
    assert len(said) == 1 and str(state) in said[0]


# ---- what another client did ---------------------------------------------------------------------

def test_changes_elsewhere_are_seen_in_time(site, other):
    """New mail, flags, keywords and UIDs from another client reach an open session."""
    with site.dovecot.imap(ANN) as imap:
        imap.select("INBOX")
        known = imap.flags()
        first = min(known)
        number = deliver(other.maildir(ANN), letter(901))
        with site.courier.imap(other.maildir(ANN)) as courier:
            courier.select("INBOX")
            courier.command("UID STORE", first, "+FLAGS (\\Answered Elsewhere)")
            added = set(courier.uids()) - known.keys()
            assert len(added) == 1 and number
        started = time.monotonic()

        def caught_up():
            imap.command("NOOP")
            flags = imap.flags()
            return flags if flags.keys() == known.keys() | added and \
                {"\\Answered", "Elsewhere"} <= flags[first] else None

        wait_until(caught_up, "the session sees what the other client did", SEEN_WITHIN)
        print(f"seen after {time.monotonic() - started:.0f} s")
    site.agree(ANN)


def test_a_first_uid_database_made_elsewhere(site, other):
    """This client remembers that there was none; UIDVALIDITY and UIDs are the other's at once."""
    with as_mail_user():
        os.listdir(site.seen(DAN))
        with contextlib.suppress(FileNotFoundError):
            os.stat(site.seen(DAN) / "dovecot-uidlist")
        assert not (site.store.maildir(DAN) / UID_DATABASE).exists()
    theirs = uids_of_courier(site, other, DAN)
    made = UidDatabase.read(other.maildir(DAN))
    with site.dovecot.imap(DAN) as imap:
        told = imap.select("INBOX")
        assert int(told.code("UIDVALIDITY")) == made.uidvalidity
        assert digests(imap) == theirs
    site.agree(DAN)


def test_uids_given_out_by_turns(site, other):
    """Two clients give out UIDs in turn, faster than either forgets what it remembers."""
    names = {}
    with site.dovecot.imap(ANN) as imap:
        imap.select(FOLDER)
        for number in range(0, 12, 2):
            with site.courier.imap(other.maildir(ANN)) as courier:
                theirs = appended(courier.append(FOLDER, letter(900 + number), "\\Seen"))
            ours = appended(imap.append(FOLDER, letter(901 + number), "\\Seen"))
            assert ours == theirs + 1
            names |= {theirs: 900 + number, ours: 901 + number}
    shown = uids_of_courier(site, other, ANN, FOLDER)
    for uid, number in names.items():
        assert uid in shown.values(), number
    assert len(shown) == len(set(shown.values()))
    site.agree(ANN)


def test_flags_renamed_elsewhere(site, other):
    """A message whose file has another name by now is found by its base name, at once."""
    with site.dovecot.imap(GUS) as imap:
        imap.select("INBOX.A.B.C")
        bodies = digests(imap)
        cur = other.folder(GUS, "INBOX.A.B.C") / "cur"
        with as_mail_user():
            for path in list(cur.iterdir()):
                path.rename(cur / f"{base_name(path.name)}:2,FS")
        assert digests(imap) == bodies
    site.agree(GUS)


def test_the_lock_is_one_on_both_clients(site, other):
    """The lock that Dovecot got is whole on the server at once, and the other way round."""
    take_as_dovecot(site)
    lock = other.maildir(ANN) / "tmp" / "courier.lock"
    assert lock.read_text(encoding="ascii") == f"{os.getpid()}:{socket.gethostname()}"
    assert lock.stat().st_nlink == 1
    with as_mail_user():
        dovecot_lock(site).unlink()
    assert not lock.exists()
    with site.dovecot.imap(ANN) as imap:
        expunge_first(imap)
        with as_mail_user():
            lock.write_text("4711:elsewhere", encoding="ascii")
        waiting = Waiting(imap, "EXPUNGE")
        assert waiting.is_quiet(4)
        with as_mail_user():
            lock.unlink()
        waiting.finish()
    site.agree(ANN)


def test_nothing_is_recorded_under_a_lock_that_was_lost(site, other):
    """Another client breaks the lock and takes it: the line written then goes nowhere."""
    site.ask_dovecot(ANN)
    before = (other.maildir(ANN) / UID_DATABASE).read_bytes()
    next_uid = UidDatabase.read(other.maildir(ANN)).next_uid
    lock = other.maildir(ANN) / "tmp" / "courier.lock"

    def another_takes_it():
        with as_mail_user():
            theirs = lock.with_name("theirs")
            theirs.write_text("4711:elsewhere", encoding="ascii")
            theirs.replace(lock)

    site.mount.expect_error("lock was taken away|is ended")
    assert was_ended(append_under_the_lock(site, f"{next_uid} :1700000000.new\n",
                                           another_takes_it))
    assert (other.maildir(ANN) / UID_DATABASE).read_bytes() == before
    with as_mail_user():
        assert lock.read_text(encoding="ascii") == "4711:elsewhere"
        lock.unlink()
    site.agree(ANN)


# ---- what vanished on the server -----------------------------------------------------------------

def test_a_message_removed_elsewhere(site, other):
    """It is expunged for the session that has it open; all others keep their UIDs."""
    with site.dovecot.imap(BOB) as imap:
        imap.select("INBOX")
        bodies = digests(imap)
        uids = sorted(bodies.values())
        gone = UidDatabase.read(other.maildir(BOB)).uids
        with as_mail_user():
            for path in (other.maildir(BOB) / "cur").iterdir():
                if gone[base_name(path.name)] == uids[0]:
                    path.unlink()
        imap.command(f"UID FETCH {uids[0]} (BODY.PEEK[HEADER])", expect=None)
        kept = {text: uid for text, uid in bodies.items() if uid != uids[0]}

        def caught_up():
            imap.command("NOOP")
            return imap.uids() == uids[1:]

        wait_until(caught_up, "the session sees that it is gone", SEEN_WITHIN)
        assert digests(imap) == kept
    assert site.agree(BOB).digests() == kept


def test_an_open_file_removed_elsewhere(site, other):
    """Reading on works or fails by name; opening it again says that it is not there."""
    path = next((site.seen(BOB) / "cur").iterdir())
    with as_mail_user(), open(path, "rb") as file:
        name = next(n for n in os.listdir(other.maildir(BOB) / "cur")
                    if base_name(n) == base_name(path.name))
        content = (other.maildir(BOB) / "cur" / name).read_bytes()
        (other.maildir(BOB) / "cur" / name).unlink()
        try:
            assert file.read() == content
        except OSError as error:
            assert error.errno == errno.ESTALE
        with pytest.raises(OSError) as caught:
            path.read_bytes()
        assert caught.value.errno in (errno.ENOENT, errno.ESTALE)
    site.dovecot.forget_index()
    wait_until(lambda: len(site.ask_dovecot(BOB).pop3) == 3, "it is gone", SEEN_WITHIN)
    site.agree(BOB)


def test_a_mailbox_removed_elsewhere(site, other):
    """A session in it, and any other, is told so; it is neither empty nor made again."""
    folder = on_server(site.store.folder(ANN, FOLDER))
    items = "MESSAGES UIDVALIDITY UIDNEXT"
    site.expected_complaints += ["courier-users", "was deleted under us"]
    with site.dovecot.imap(ANN) as imap, site.dovecot.imap(ANN) as inside:
        remembered = imap.status(FOLDER, items)
        inside.select(FOLDER)
        with site.courier.imap(other.maildir(ANN)) as courier:
            courier.command(f"DELETE {FOLDER}")
        assert not folder.exists()

        def is_gone():
            status = imap.status(FOLDER, items, expect=None)
            assert status == remembered or not isinstance(status, dict)
            return not isinstance(status, dict)

        wait_until(is_gone, "a session is told that there is no such mailbox", SEEN_WITHIN)
        with pytest.raises(Refused):
            imap.select(FOLDER)
        assert FOLDER not in imap.folders()
        with contextlib.suppress(Refused, EOFError):
            told = inside.command("NOOP")
            assert not told.named("EXISTS") and not told.named("EXPUNGE")
        inside.close()
    assert not folder.exists()
    site.agree(ANN)


def test_the_server_is_away_for_a_while(site):
    """A server that does not answer holds up its clients, and nothing else happens to them."""
    before = site.ask_dovecot(ANN)
    with site.dovecot.imap(ANN) as imap:
        imap.select("INBOX.Sent")
        subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
        try:
            waiting = Waiting(imap, "SELECT INBOX.Lists")
            assert waiting.is_quiet(5)
        finally:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        waiting.finish()
    same(before, site.ask_dovecot(ANN), "after the server was away")
    site.agree(ANN)
