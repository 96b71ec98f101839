"""Who may what: one list, whichever server a client asks, and whichever it is changed through."""

import contextlib
import os

import pytest

from servers.courier_files import edit
from servers.imap import Refused, encode_folder
from servers.lab import MAIL_GID, MAIL_UID, acting_as, as_mail_user, wait_until
from servers.rights import (
    EVERYTHING, LETTERS, OWN, RIGHTS, SHARED, SITE, SharedSite, access, allow, as_courier_tells,
    letters)
from servers.store import ANN, BOB, EVE, letter

SERVERS = ["courier", "dovecot"]
LOCKS = {"locks by exclusive create": "yes", "locks by link": "no"}


@pytest.fixture(name="site")
def make_site(lab, courier, store):
    """A site whose users come into a folder of one of them."""
    with SharedSite(lab, courier, store) as site:
        yield site


def session(site, server, user=SITE, **settings):
    """A session with one of the two."""
    return site.through_courier(user) if server == "courier" else site.through_dovecot(
        user, **settings)


def test_nothing_was_ever_set(site):
    """Without a file both give the owner everything and the others nothing."""
    assert not (site.store.maildir(SITE) / RIGHTS).exists()
    assert not os.path.exists(site.seen(SITE) / "dovecot-acl")
    assert site.may("courier", SITE, "INBOX") | {"p"} == EVERYTHING
    assert site.may("dovecot", SITE, "INBOX") == EVERYTHING
    assert site.both_say(BOB) == set()


@pytest.mark.parametrize("server", SERVERS)
def test_what_one_sets_the_other_shows(site, server):
    """GETACL and MYRIGHTS of both after SETACL and DELETEACL through one."""
    with session(site, server) as imap:
        allow(imap, BOB, "lrs")
        allow(imap, ANN, "lri")
        allow(imap, EVE, "l")
    assert site.both_say(BOB) == set("lrs")
    assert site.both_say(ANN) == set("lri")
    for other in SERVERS:
        with session(site, other) as imap:
            listed = access(imap)
        assert (listed[BOB], listed[ANN], listed[EVE]) == (set("lrs"), set("lri"), set("l"))
    with session(site, server) as imap:
        allow(imap, BOB, "+w")
        allow(imap, ANN, "-i")
        imap.command("DELETEACL", OWN, EVE)
    assert site.both_say(BOB) == set("lrsw")
    assert site.both_say(ANN) == set("lr")
    assert site.both_say(EVE) == set()


def test_notes_beside_couriers_lines(site):
    """What was only taken because Courier unites lines is given back when its reason goes, also
    after Courier has written the file."""
    with site.through_dovecot(SITE) as imap:
        allow(imap, "anyone", "lr")
        allow(imap, BOB, "lw")
    note = f"courierfs:user={BOB}"
    assert site.in_file(f"-user={BOB}") == site.in_file(note) == set("r")
    with site.through_courier(SITE) as imap:
        allow(imap, EVE, "ls")
    assert site.in_file(note) == set("r")
    assert site.both_say(BOB) == set("lw")
    with site.through_dovecot(SITE) as imap:
        assert access(imap)[BOB] == set("lw")
        imap.command("DELETEACL", OWN, BOB)
    assert site.both_say(BOB) == set("lr")
    assert not [line for line in site.file() if BOB in line]


@pytest.mark.parametrize("server", SERVERS)
def test_each_right_alone(site, server):
    """Every letter beside `l`, and all but one: neither server gives more than was said."""
    for right in LETTERS:
        for said in ({"l", right}, set(LETTERS) - {right} | {"l"}):
            wire = "".join(sorted(said))
            if server == "courier":
                wire = wire.replace("k", "c")
            with session(site, server) as imap:
                allow(imap, BOB, wire)
            assert site.in_file(f"user={BOB}") == said
            assert site.both_say(BOB) == said


@pytest.mark.parametrize("server", SERVERS)
def test_rights_are_enforced(site, server):
    """What a user may and may not do is the same through both."""
    with session(site, server) as imap:
        allow(imap, BOB, "lri")
        allow(imap, ANN, "lrt")
        imap.append(OWN, letter(1))
    for through in SERVERS:
        with session(site, through, BOB) as imap:
            imap.append(SHARED, letter(2))
            imap.select(SHARED)
            mark(imap, "\\Flagged", allowed=False)
            mark(imap, "\\Deleted", allowed=False)
        with session(site, through, ANN) as imap:
            with pytest.raises(Refused):
                imap.append(SHARED, letter(3))
            imap.select(SHARED)
            mark(imap, "\\Deleted", allowed=True)
            count = len(imap.uids())
            imap.command("EXPUNGE", expect=None)
            assert len(imap.uids()) == count
            imap.command("STORE 1 -FLAGS (\\Deleted)")
        with session(site, through, EVE) as imap:
            with pytest.raises(Refused):
                imap.select(SHARED)
            assert SHARED not in imap.folders()
            with pytest.raises(Refused):
                imap.append(SHARED, letter(4))


def mark(imap, flag, allowed):
    """Tries to set a flag on the first message; whether it is there must be as expected."""
    imap.command(f"STORE 1 +FLAGS ({flag})", expect=None)
    assert any(flag in flags for flags in imap.flags().values()) == allowed


@pytest.mark.parametrize("server", SERVERS)
def test_negative_rights(site, server):
    """What `-` takes is taken from what somebody has as anyone and for himself."""
    with session(site, server) as imap:
        allow(imap, "anyone", "lrsi")
        allow(imap, f"-{BOB}", "s")
        allow(imap, EVE, "lrsw")
        allow(imap, f"-{EVE}", "w")
    assert site.both_say(ANN) == set("lrsi")
    assert site.both_say(BOB) == set("lri")
    eve = site.both_say(EVE)
    assert set("lrs") <= eve <= set("lrsi")
    with session(site, "dovecot") as imap:
        assert access(imap)[f"-{BOB}"] == {"s"}
    with session(site, "courier") as imap:
        imap.command("DELETEACL", OWN, f"-{BOB}")
    assert site.both_say(BOB) == set("lrsi")


def test_a_line_means_no_more_than_either_server_would_read_in_it(site):
    """Courier adds what is anyone's to a user's line; Dovecot replaces it."""
    with session(site, "courier") as imap:
        allow(imap, "anyone", "lr")
        allow(imap, BOB, "w")
    assert site.both_say(BOB) == set("lrw")
    with session(site, "dovecot") as imap:
        allow(imap, BOB, "li")
    assert site.both_say(BOB) == set("li")
    with session(site, "dovecot") as imap:
        allow(imap, "anyone", "lrs")
    assert site.both_say(BOB) == set("li")
    assert site.both_say(ANN) == set("lrs")


def test_couriers_own_lines_stay(site):
    """Administrators, unknown identifiers and letters survive what Dovecot changes."""
    own = ["owner aceilrstwx", "administrators aceilrstwx", "user=gus@example.net 9lr",
           "postmaster lr", "group=staff lr", "-user=fay@example.net w"]
    site.write_file(*own)
    with session(site, "dovecot") as imap:
        assert "administrators" not in access(imap) and "postmaster" not in access(imap)
        allow(imap, BOB, "lr")
    # Bob may be in the group; what it has and his line says is no more.
    assert site.file() == [*own, f"user={BOB} lr"]
    with session(site, "courier") as imap:
        assert access(imap)["administrators"] >= set("alr")
        allow(imap, BOB, "lrs")
    assert site.both_say(BOB) == set("lrs")


def test_groups_stay_apart(site):
    """Members of a group have its rights under Dovecot as under Courier."""
    site.write_file("owner aceilrstwx", "group=staff lrs", "-group=guests s", f"user={BOB} lrs")
    member = {"plugin/acl_groups": "staff"}
    assert site.may("dovecot", ANN, **member) == set("lrs")
    assert site.may("dovecot", ANN) == set()
    guest = {"plugin/acl_groups": "guests,staff"}
    assert site.may("dovecot", ANN, **guest) == set("lr")
    assert site.may("dovecot", BOB, **guest) == set("lr")
    assert site.may("dovecot", BOB) == set("lrs")
    assert site.may("dovecot", SITE, OWN) == EVERYTHING
    assert site.may("dovecot", SITE, OWN, **guest) == EVERYTHING - {"s"}
    for groups, expected in (("staff", "lrs"), ("guests", "")):
        options = f"group={groups}"
        with site.through_courier(ANN, OPTIONS=options) as imap:
            reply = imap.command("MYRIGHTS", encode_folder(SHARED), expect=None)
            told = [r.values[1].decode() for r in reply.named("MYRIGHTS")]
            assert set("".join(told)) == set(expected)


def test_the_owner_keeps_what_courier_needs(site):
    """Courier refuses a list by which the owner may not `l` and `a`, and folders below one."""
    with session(site, "dovecot") as imap:
        allow(imap, "owner", "rwk")
        imap.command("CREATE", OWN + ".Sub")
    assert site.in_file("owner") == set("lrwka")
    assert site.may("courier", SITE, OWN) == set("lrwka")
    assert site.may("dovecot", SITE, OWN) == set("lrwkap")
    with session(site, "courier") as imap:
        imap.select(OWN + ".Sub")
        allow(imap, BOB, "lr")
    assert site.both_say(BOB) == set("lr")


def test_the_owner_named_as_a_user(site):
    """Dovecot writes `user=` for him who calls himself by his name: it binds him on both."""
    with session(site, "dovecot") as imap:
        allow(imap, SITE, "lra", folder="INBOX")
        assert letters("".join(access(imap, "INBOX")[SITE])) == set("lra")
    assert as_courier_tells(site.may("dovecot", SITE, "INBOX")) == site.may(
        "courier", SITE, "INBOX") == set("lra")


def test_a_folder_without_a_file_has_its_parents_rights(site):
    """Made through Dovecot, which writes none."""
    with session(site, "courier") as imap:
        allow(imap, BOB, "lr")
    with session(site, "dovecot") as imap:
        imap.command("CREATE", OWN + ".Sub")
        imap.command("CREATE", OWN + ".No.Parent")
    for folder in (".Sub", ".No.Parent"):
        assert not (site.store.folder(SITE, OWN + folder) / RIGHTS).exists()
        assert site.may("dovecot", BOB, SHARED + folder) == set("lr")
    with session(site, "dovecot") as imap:
        allow(imap, ANN, "lr", folder=OWN + ".Sub")
    assert site.both_say(BOB, SHARED + ".Sub") == set("lr")
    assert site.both_say(ANN, SHARED + ".Sub") == set("lr")
    assert site.both_say(ANN) == set()


def test_a_parent_that_does_not_exist(site):
    """Courier keeps its rights in a directory of their own."""
    with session(site, "courier") as imap:
        imap.command("CREATE INBOX.none.child")
        assert access(imap, "INBOX.none.child")
    with as_mail_user():
        (site.store.folder(SITE, "INBOX.none.child") / RIGHTS).unlink(missing_ok=True)
    edit(site.store.maildir(SITE) / "courierimaphieracl" / "none",
         lambda content: content + f"user={BOB} lr\n".encode())
    assert site.may("dovecot", BOB, "#shared.site.none.child") == set("lr")
    assert site.both_say(BOB, "#shared.site.none.child") == set("lr")


# Where Courier looks for the rights of INBOX.A.B.C, in this order.
PLACES = [".A.B.C/" + RIGHTS, "courierimaphieracl/A.B.C", ".A.B/" + RIGHTS,
          "courierimaphieracl/A.B", ".A/" + RIGHTS, "courierimaphieracl/A", RIGHTS]


@pytest.mark.parametrize("middle", [True, False], ids=["with A.B", "without A.B"])
@pytest.mark.parametrize("first", range(len(PLACES)))
def test_the_nearest_list_counts(site, first, middle):
    """Each place gives Ann something else; both servers take the first list there is."""
    maildir = site.store.maildir(SITE)
    with site.through_dovecot(SITE) as imap:
        for folder in ["INBOX.A", "INBOX.A.B", "INBOX.A.B.C"][:: 1 if middle else 2]:
            imap.command("CREATE", folder)
    lists = [place for place in PLACES[first:] if (maildir / place).parent.is_dir()]
    lists += [place for place in PLACES[first:] if place.startswith("courierimaphieracl")]
    with as_mail_user():
        (maildir / "courierimaphieracl").mkdir(exist_ok=True)
        for place in set(lists):
            also = LETTERS[2 + PLACES.index(place)].replace("k", "c")
            (maildir / place).write_text(
                f"owner aceilrstwx\nadministrators aceilrstwx\nuser={ANN} l{also}\n")
    expected = min(PLACES.index(place) for place in lists)
    assert site.may("dovecot", ANN, "#shared.site.A.B.C") == {"l", LETTERS[2 + expected]}
    assert site.courier.computed_rights(maildir, "INBOX.A.B.C", [f"user={ANN}"]).strip() == "".join(
        sorted("l" + LETTERS[2 + expected].replace("k", "c")))


@pytest.mark.parametrize("locks", LOCKS)
def test_locks_of_either_kind(site, locks):
    """Dovecot makes this lock by link in any case; the others as it is told."""
    settings = {"dotlock_use_excl": LOCKS[locks]}
    with site.through_dovecot(SITE, **settings) as imap:
        for i in range(5):
            allow(imap, BOB, "lr" if i % 2 else "lrs")
            assert access(imap)[BOB] == set("lr" if i % 2 else "lrs")
        allow(imap, ANN, "lr")
    assert site.both_say(BOB) == set("lrs")
    assert site.both_say(ANN) == set("lr")
    left = [name for name in os.listdir(site.store.folder(SITE, OWN) / "tmp") if "linked" in name]
    assert left == []


@pytest.mark.parametrize("forget", [False, True], ids=["kept", "deleted"])
def test_rights_survive_a_remount(site, forget):
    """The list is Courier's, so nothing else needs to survive."""
    with session(site, "dovecot") as imap:
        allow(imap, "anyone", "lr")
        allow(imap, BOB, "l")
        allow(imap, f"-{EVE}", "r")
    before = site.file()
    site.mount.remount(forget)
    assert site.both_say(BOB) == set("l")
    assert site.both_say(EVE) == set("l")
    assert site.file() == before


def test_an_open_session_hears_of_it(site):
    """Dovecot looks at the list's time, in seconds, and size: each change must show in them."""
    settings = {"plugin/acl": "vfile:cache_secs=1"}
    with session(site, "courier") as owner, site.through_dovecot(BOB, **settings) as imap:
        for i in range(6):
            # Lines of equal length, several in one second.
            said = "lr" if i % 2 else "ls"
            allow(owner, BOB, said)
            wait_until(lambda said=said: told(imap) == set(said), f"Bob is told {said}")


def told(imap):
    """MYRIGHTS now."""
    reply = imap.command("MYRIGHTS", encode_folder(SHARED), expect=None)
    return letters("".join(r.values[1].decode() for r in reply.named("MYRIGHTS")))


def test_a_right_that_courier_takes_meanwhile(site):
    """What Dovecot writes is a change: it does not bring back what it read before."""
    with session(site, "courier") as imap:
        allow(imap, BOB, "lrsw")
        allow(imap, ANN, "lr")
    folder = site.seen(SITE, OWN)
    temporary, lock = folder / "temp.test", folder / "dovecot-acl.lock"
    with contextlib.ExitStack() as stack:
        with as_mail_user():
            shown = (folder / "dovecot-acl").read_text(encoding="utf-8")
            file = stack.enter_context(open(temporary, "w", encoding="utf-8"))
            os.link(temporary, lock)
            temporary.unlink()
        site.write_file("owner aceilrstwx", f"user={BOB} lr")
        with as_mail_user():
            file.write(shown.replace(f"user={ANN} lr", f"user={ANN} lri"))
            file.flush()
            os.fsync(file.fileno())
            os.rename(lock, folder / "dovecot-acl")
    assert site.both_say(BOB) == set("lr")
    assert site.both_say(ANN) == {"i"}


def test_a_mount_that_only_reads(lab, courier, store):
    """The list is shown and holds; no client can change it."""
    with SharedSite(lab, courier, store, ["ro"]) as site:
        site.expected_complaints = ["Read-only file system", "dovecot-acl", "Failed to set ACL"]
        with session(site, "courier") as imap:
            allow(imap, BOB, "lr")
        before = site.file()
        with session(site, "dovecot") as imap, pytest.raises(Refused):
            allow(imap, BOB, "lrs")
        assert site.may("dovecot", BOB) == set("lr")
        assert site.file() == before


@pytest.mark.parametrize("who", [
    "two words", "authenticated", "-authenticated", "-anyone", "!$staff", "$administrators"])
def test_what_courier_has_no_words_for_is_refused(site, who):
    """Dovecot's client hears so, and nothing changes."""
    with session(site, "courier") as imap:
        allow(imap, BOB, "lr")
    before = site.file()
    site.expected_complaints = ["dovecot-acl", "Failed to set ACL"]
    with session(site, "dovecot") as imap:
        with pytest.raises(Refused):
            allow(imap, who, "lr")
        assert not {"two words", "authenticated", "$staff"} & set(access(imap))
        allow(imap, ANN, "lr")
    assert site.file() == [*before, f"user={ANN} lr"]
    assert site.mount.log_lines("warning")


DAMAGED = {
    "a directory": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "very large": lambda path: path.write_text("anyone lr\n" * 200_000),
    "of thousands": lambda path: path.write_text(
        "".join(f"user=u{i} lr\n" for i in range(3000))),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_is_no_list_of_rights(site, damage):
    """It is told once by name, nobody has any right through Dovecot, and all else works."""
    path = site.store.folder(SITE, OWN) / RIGHTS
    site.expected_complaints = ["dovecot-acl", "ACL"]
    with as_mail_user():
        path.rename(path.with_name("aside"))
        DAMAGED[damage](path)
    for _ in range(3):
        with site.through_dovecot(SITE) as imap:
            imap.select(OWN, expect="NO")
            imap.select("INBOX")
        assert site.may("dovecot", BOB) == set()
    told = [line for line in site.mount.log_lines("warning") if RIGHTS in line]
    assert len(told) == 1 and OWN.replace("INBOX", "") in told[0], told
    with as_mail_user():
        (path.rmdir if path.is_dir() else path.unlink)()
        path.with_name("aside").rename(path)
    with site.through_dovecot(SITE) as imap:
        imap.select(OWN)


def test_a_list_is_read_with_the_rights_of_the_reader(site):
    """Where users are different system users: as Courier's file, so Dovecot's."""
    folder, seen = site.store.folder(SITE, OWN), site.seen(SITE, OWN)
    other = MAIL_UID + 1
    with as_mail_user():
        for directory in (folder, *folder.parents):
            if directory.is_relative_to(site.store.path):
                directory.chmod(0o2770)
    for mode, readable in ((0o600, False), (0o640, True), (0o600, False)):
        with as_mail_user():
            (folder / RIGHTS).chmod(mode)
            assert (seen / "dovecot-acl").read_bytes()
        with acting_as(other, other, [MAIL_GID]), contextlib.ExitStack() as stack:
            if not readable:
                stack.enter_context(pytest.raises(PermissionError))
            assert (seen / "dovecot-acl").read_bytes()


def test_dovecots_list_of_shared_folders(lab, courier, store):
    """It is no folder to Courier, and does not hide what Courier's users share later."""
    with SharedSite(lab, courier, store, ["attr_timeout=0"]) as site:
        share_when_dovecot_listed_already(site)


def share_when_dovecot_listed_already(site):
    """Lists through Dovecot, shares through Courier, and lists again when the list is old."""
    with site.through_dovecot(BOB) as imap:
        assert SHARED not in imap.folders()
    listed = site.store.maildir(SITE) / "dovecot-acl-list"
    assert listed.exists()
    with session(site, "courier") as imap:
        assert not any("acl" in name for name in imap.folders())
        allow(imap, BOB, "lr")
    with as_mail_user():
        old = listed.stat().st_mtime - 60
        os.utime(listed, (old, old))
        assert not os.path.exists(site.seen(SITE) / "dovecot-acl-list")
    with site.through_dovecot(BOB) as imap:
        assert SHARED in imap.folders()
    status = listed.stat()
    assert (status.st_uid, status.st_gid) == (MAIL_UID, MAIL_GID)
