"""The mount option `control`: Dovecot reads mail in the store and only control files on the mount.

What is the same in both layouts is tested by the files marked `any_layout`.
"""

import contextlib
import os
import random

import pytest

from servers.answers import Answers, ask_imap, ask_pop3, same, without_keywords
from servers.courier import deliver
from servers.dovecot import Dovecot
from servers.imap import Refused
from servers.lab import MAIL_GID, MAIL_UID, acting_as, as_mail_user
from servers.mount import COURIERCTL, Mount, suite_options
from servers.site import Site
from servers.store import ANN, USERS, letter
from servers.together import MIA, add_user, deliver_named, words_by_uid

pytestmark = pytest.mark.skipif("control" in suite_options(), reason="chooses its layouts itself")


@pytest.fixture(name="narrow")
def make_narrow(lab, courier, store):
    """A site whose mount has the layout for CONTROL=."""
    with Site(lab, courier, store, ["control"]) as site:
        yield site


def tree(path):
    """{name below it: what os.lstat says of it} of everything in a directory of the store."""
    found = {}
    for directory, names, files in os.walk(path):
        for name in names + files:
            there = os.path.join(directory, name)
            status = os.lstat(there)
            found[os.path.relpath(there, path)] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def test_what_is_shown(narrow):
    """Directories, control files, and the maildir once more as .INBOX; nothing of Courier's, no mail."""
    shown = narrow.seen(ANN)
    store = narrow.store.maildir(ANN)
    folders = {path.name for path in store.iterdir() if path.is_dir()}
    narrow.agree(ANN)
    with as_mail_user():
        assert {"courierimapuiddb", "courierimapsubscribed"} <= set(os.listdir(store))
        assert set(os.listdir(shown)) == folders | {
            ".INBOX", "dovecot-uidlist", "dovecot-keywords", "subscriptions"}
        inbox = set(os.listdir(shown / ".INBOX"))
        assert {"dovecot-uidlist", "dovecot-keywords"} <= inbox <= {
            "dovecot-uidlist", "dovecot-keywords", "subscriptions", "dovecot-acl"}
        for name in ("dovecot-uidlist", "dovecot-keywords"):
            assert (shown / name).read_bytes() == (shown / ".INBOX" / name).read_bytes() != b""
        numbers = [path.stat().st_ino for path in (shown, shown / ".INBOX", *shown.glob("*/"))]
        assert shown.stat().st_ino != (shown / ".INBOX").stat().st_ino
        assert len(set(numbers)) >= len(numbers) - 1  # the glob has .INBOX again
        for hidden in ("courierimapuiddb", ".INBOX/courierimapuiddb", ".INBOX/cur", ".INBOX/.INBOX",
                       ".INBOX/.Sent", ".Sent/.INBOX", "nothing"):
            assert not os.path.lexists(shown / hidden), hidden
        for part in ("cur", "new", "tmp"):
            with pytest.raises(PermissionError):
                os.listdir(shown / part)
            with pytest.raises(PermissionError):
                (shown / part / "1.M1P1.x:2,").stat()


def test_nothing_of_the_store_can_be_changed(narrow):
    """No directory is made, moved or removed, no file but Dovecot's own; the store stays as it is."""
    shown = narrow.seen(ANN)
    deeds = [
        lambda: os.mkdir(shown / ".Fresh"),
        lambda: os.mkdir(shown / ".INBOX" / "x"),
        lambda: os.mkdir(shown / "tmp" / "x"),
        lambda: os.rmdir(shown / ".Sent"),
        lambda: os.rmdir(shown / ".INBOX"),
        lambda: os.rmdir(shown / "cur"),
        lambda: os.rename(shown / ".Sent", shown / ".Other"),
        lambda: os.rename(shown / ".INBOX", shown / ".Other"),
        lambda: os.rename(shown / ".Sent", shown / ".INBOX"),
        lambda: os.unlink(shown / "courierimapuiddb"),
        lambda: (shown / "file").touch(),
        lambda: (shown / "courierimapuiddb").write_bytes(b""),
        lambda: (shown / "tmp" / "file").touch(),
        lambda: (shown / "cur" / "file:2,").touch(),
        lambda: os.link(shown / "dovecot-uidlist", shown / "cur" / "x"),
        lambda: os.symlink("x", shown / "file"),
        lambda: os.mkfifo(shown / "file"),
    ]
    with as_mail_user():
        list(map(os.listdir, (shown, shown / ".Sent")))
        before = tree(narrow.store.path)
        for number, deed in enumerate(deeds):
            with pytest.raises(OSError):
                deed()
                pytest.fail(f"deed {number} was done")
        assert tree(narrow.store.path) == before


def test_without_control_it_is_an_error(narrow):
    """Somebody forgot CONTROL=: no empty mailbox, no other UID."""
    before = narrow.agree(ANN)
    forgetful = Dovecot(narrow.lab, narrow.mount.point)
    with forgetful.imap(ANN) as imap:
        with contextlib.suppress(Refused):
            pytest.fail(f"it has a mailbox: {imap.select('INBOX')}")
        with contextlib.suppress(Refused):
            pytest.fail(f"it stores mail: {imap.append('INBOX', letter(1))}")
    with contextlib.suppress(Refused, EOFError):
        with forgetful.pop3(ANN) as pop3:
            pytest.fail(f"it has messages: {pop3.uidls()}")
    assert forgetful.complaints()
    same(before, narrow.agree(ANN), "after it")


def test_new_mail(narrow):
    """It is there at the next NOOP, under the UID that Courier then tells, never \\Recent."""
    add_user(narrow)
    with narrow.dovecot.imap(MIA) as imap:
        imap.select("INBOX")
        for number in range(1, 6):
            deliver_named(narrow, MIA, f"w{number}")
            imap.command("NOOP")
            assert words_by_uid(imap) == {n: f"w{n}" for n in range(1, number + 1)}
    with narrow.dovecot.imap(MIA) as examining:
        deliver_named(narrow, MIA, "w6")
        assert examining.status("INBOX", "UIDNEXT") == {"UIDNEXT": 7}
        examining.examine("INBOX")
        assert words_by_uid(examining)[6] == "w6"
    narrow.agree(MIA)


def test_mail_that_comes_while_the_lock_is_held(narrow):
    """Courier moves it, a delivery follows, Dovecot's session looked before either: no UID changes."""
    add_user(narrow)
    dice = random.Random(20261127)
    told = {}
    with narrow.dovecot.imap(MIA) as first, narrow.dovecot.imap(MIA) as second:
        for session in (first, second):
            session.select("INBOX")
        for number in range(60):
            deliver_named(narrow, MIA, f"w{number}")
            for _ in range(dice.randint(1, 3)):
                who = dice.choice(["first", "second", "courier", "pop3"])
                if who == "courier":
                    with narrow.courier.imap(narrow.store.maildir(MIA)) as imap:
                        imap.select("INBOX")
                        seen = words_by_uid(imap)
                elif who == "pop3":
                    with narrow.courier.pop3(narrow.store.maildir(MIA)) as pop3:
                        pop3.uidls()
                    continue
                else:
                    session = first if who == "first" else second
                    session.command("NOOP")
                    seen = words_by_uid(session)
                for uid, word in seen.items():
                    assert told.setdefault(uid, word) == word
    assert sorted(told.values()) == sorted({f"w{n}" for n in range(60)} & set(told.values()))
    assert len(set(told.values())) == len(told), "a message has two UIDs"
    narrow.agree(MIA)


def test_folders(narrow):
    """CREATE, RENAME and DELETE, and the same names again at once, while the kernel remembers them."""
    add_user(narrow)
    with narrow.dovecot.imap(MIA) as imap:
        for turn in range(3):
            imap.command("CREATE INBOX.A")
            imap.append("INBOX.A", letter(turn), "\\Seen")
            imap.command("CREATE INBOX.A.B")
            imap.append("INBOX.A.B", letter(turn + 10))
            imap.select("INBOX.A.B")
            imap.select("INBOX")
            before = narrow.agree(MIA).folders
            imap.command("RENAME INBOX.A INBOX.C")
            after = narrow.agree(MIA).folders
            assert set(after) == {"INBOX", "INBOX.C", "INBOX.C.B"}
            for old, new in (("INBOX.A", "INBOX.C"), ("INBOX.A.B", "INBOX.C.B")):
                assert before[old].messages == after[new].messages
                assert before[old].uidvalidity == after[new].uidvalidity
            imap.command("DELETE INBOX.C.B")
            imap.command("DELETE INBOX.C")
            assert set(narrow.agree(MIA).folders) == {"INBOX"}


def test_a_folder_made_anew_under_a_deleted_name(narrow):
    """Dovecot removes the control directory last: it is the new folder's by then, and stays."""
    add_user(narrow, folders=["INBOX.A"])
    shown = narrow.seen(MIA, "INBOX.A")
    store = narrow.store.folder(MIA, "INBOX.A")
    with as_mail_user():
        os.listdir(shown)
        (shown / "dovecot-uidlist").read_bytes()
        store.rename(store.with_name("..DOVECOT-TRASHED"))
    with narrow.courier.imap(narrow.store.maildir(MIA)) as imap:
        imap.command("CREATE INBOX.A")
    deliver_named(narrow, MIA, "w1", "INBOX.A")
    with narrow.courier.imap(narrow.store.maildir(MIA)) as imap:
        imap.select("INBOX.A")
        uidvalidity = imap.status("INBOX.A", "UIDVALIDITY")
    with as_mail_user():
        for name in os.listdir(shown):
            with contextlib.suppress(IsADirectoryError, PermissionError):
                os.unlink(shown / name)
        with pytest.raises(OSError):
            os.rmdir(shown)
    with narrow.dovecot.imap(MIA) as imap:
        assert imap.status("INBOX.A", "UIDVALIDITY") == uidvalidity
        imap.select("INBOX.A")
        assert words_by_uid(imap) == {1: "w1"}


def test_keywords(narrow):
    """Dovecot keeps its own, in names; Courier's are not lost, and are back on an ordinary mount."""
    maildir = narrow.store.maildir(ANN)
    with narrow.courier.imap(maildir) as imap:
        imap.select("INBOX")
        imap.command("STORE 1 +FLAGS (OnlyCourier)")
    with narrow.dovecot.imap(ANN) as imap:
        imap.select("INBOX")
        imap.command("STORE 1 +FLAGS (OnlyDovecot \\Flagged)")
        imap.command("STORE 2 +FLAGS (OnlyDovecot)")
    narrow.dovecot.forget_index()
    with narrow.dovecot.imap(ANN) as imap:
        imap.select("INBOX")
        for number in (1, 2):
            flags = imap.flags()[imap.uids()[number - 1]]
            assert "OnlyDovecot" in flags and "OnlyCourier" not in flags
    with narrow.courier.imap(maildir) as imap:
        imap.select("INBOX")
        first, second = (imap.flags()[uid] for uid in imap.uids()[:2])
        assert {"OnlyCourier", "\\Flagged"} <= first and "OnlyDovecot" not in first | second
    narrow.agree(ANN)


@pytest.mark.parametrize("user", USERS)
def test_there_and_back(lab, courier, store, user):
    """Ordinary, for CONTROL=, ordinary again, at last Dovecot alone: the same UIDs and UIDLs."""
    with Site(lab, courier, store) as site:
        first = site.agree(user)
    with Site(lab, courier, store, ["control"]) as site:
        second = site.agree(user)
        same(without_keywords(first), second, "for CONTROL=")
    with Site(lab, courier, store) as site:
        same(first, site.agree(user), "ordinary again")
    done = lab.run([COURIERCTL, "convert", store.path], timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    site = Site(lab, courier, store, ["control"])
    with site.mount:
        same(second, site.ask_dovecot(user), "converted, for CONTROL=")
    alone = Dovecot(lab, store.path)
    with alone.imap(user) as imap, alone.pop3(user) as pop3:
        same(first, Answers(*ask_imap(imap), ask_pop3(pop3)), "converted, without a mount")


def test_it_is_no_mount_that_only_reads(narrow):
    """`ro` could not be kept: it is refused, with the reason."""
    done = narrow.lab.run(Mount(narrow.lab, narrow.store.path, ["control"]).command("ro"))
    assert done.returncode == 1 and b"control: not together with ro" in done.stderr


def test_who_may(narrow):
    """The mount adds no rights here either."""
    with acting_as(MAIL_UID + 1, MAIL_GID + 1):
        with pytest.raises(PermissionError):
            os.listdir(narrow.seen(ANN) / ".INBOX")
        with pytest.raises(PermissionError):
            (narrow.seen(ANN) / ".INBOX" / "dovecot-uidlist").read_bytes()
    deliver(narrow.store.maildir(ANN), letter(1))
    narrow.agree(ANN)
