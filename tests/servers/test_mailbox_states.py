"""Mailboxes in every state, damaged uid databases among them: nobody else's UID moves."""

import os

import pytest

from servers.courier import deliver
from servers.courier_files import UID_DATABASE, UidDatabase, edit
from servers.imap import Refused, encode_folder
from servers.lab import as_mail_user
from servers.store import ANN, BOB, CEM, DAN, FAY, GUS, letter

FOLDER = "INBOX.Lists.courier-users"


def lines_changed(change):
    """An edit of the lines of a uid database, the header being line 0."""
    def changed(content):
        lines = content.split(b"\n")[:-1]
        return b"\n".join(change(lines)) + b"\n"
    return changed


def with_flags(line):
    """A line whose name has flags in it."""
    return line + b":2,S"


def next_uid_too_low(lines):
    """A header that would give out UID 1 again."""
    version, uidvalidity, _ = lines[0].split()
    return [b" ".join([version, uidvalidity, b"1"]), *lines[1:]]


DAMAGES = {
    "gaps": lines_changed(lambda lines: [lines[0] + b"00", *lines[1:]]),
    "stale lines": lines_changed(
        lambda lines: [lines[0] + b"0", lines[1], *lines[2:], b"9 1600000000.gone"]),
    "flags in the names": lines_changed(
        lambda lines: [lines[0], *map(with_flags, lines[1:])]),
    "next uid too low": lines_changed(next_uid_too_low),
    "unsorted": lines_changed(lambda lines: [lines[0], *reversed(lines[1:])]),
    "cr lf": lambda content: content.replace(b"\n", b"\r\n"),
    "leading zeros": lines_changed(lambda lines: [lines[0], *(b"00" + w for w in lines[1:])]),
    "text after the header": lines_changed(lambda lines: [lines[0] + b" more", *lines[1:]]),
    "a line without a name": lines_changed(lambda lines: [*lines, b"8"]),
    "an empty line": lines_changed(lambda lines: [*lines[:2], b"", *lines[2:]]),
}


def ask_one(site, folder=FOLDER):
    """{digest: UID} of a mailbox of Ann's, through Dovecot."""
    return site.ask_dovecot(ANN).digests(folder)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_uid_database_that_still_names_every_message(site, damage):
    """Every message keeps its UID, new mail gets a higher one, and Courier agrees."""
    path = site.store.folder(ANN, FOLDER) / UID_DATABASE
    before = UidDatabase.read(path.parent)
    courier = site.ask_courier_on_a_copy(ANN).digests(FOLDER)
    edit(path, DAMAGES[damage])
    site.mount.expect_error(UID_DATABASE)
    assert ask_one(site) == courier
    deliver(path.parent, letter(901))
    with site.dovecot.imap(ANN) as imap:
        uid = int(imap.append(FOLDER, letter(902)).code("APPENDUID").split()[-1])
        assert uid > max(before.uids.values())
        assert imap.status(FOLDER)["UIDVALIDITY"] == before.uidvalidity
    after = site.agree(ANN)
    assert {d: u for d, u in after.digests(FOLDER).items() if d in courier} == courier
    assert len(after.folders[FOLDER].messages) == len(courier) + 2


def test_no_final_newline(site):
    """Courier ignores a last line without its end; all others keep their UIDs."""
    path = site.store.folder(ANN, FOLDER) / UID_DATABASE
    before = site.ask_courier_on_a_copy(ANN).digests(FOLDER)
    edit(path, lambda content: content[:-1])
    site.mount.expect_error(UID_DATABASE)
    after = site.agree(ANN).digests(FOLDER)
    last = max(before.values())
    assert {d: u for d, u in after.items() if u < last} == \
        {d: u for d, u in before.items() if u < last}
    assert after.keys() == before.keys()


@pytest.mark.parametrize("repeat", ["uid", "name"])
def test_duplicates(site, repeat):
    """Two messages of one UID, or two lines for one message: all the others keep theirs."""
    path = site.store.folder(ANN, FOLDER) / UID_DATABASE
    before = site.ask_courier_on_a_copy(ANN).digests(FOLDER)

    def change(lines):
        header, first, second, *rest = lines
        if repeat == "uid":
            second = first.split(b" ", 1)[0] + b" " + second.split(b" ", 1)[1]
            return [header, first, second, *rest]
        return [header + b"0", first, second, *rest, b"9 " + first.split(b" ", 1)[1]]

    edit(path, lines_changed(change))
    site.mount.expect_error(UID_DATABASE)
    ask_one(site)
    deliver(path.parent, letter(901))
    with site.dovecot.imap(ANN) as imap:
        imap.append(FOLDER, letter(902))
    after = site.agree(ANN).folders[FOLDER].messages
    assert len(after) == len(before) + 2, "each message is there, under a UID of its own"
    undamaged = {u: d for d, u in before.items()
                 if u not in sorted(before.values())[:2 if repeat == "uid" else 1]}
    assert {u: m.digest for u, m in after.items() if u in undamaged} == undamaged


def test_a_uid_beyond_dovecots(site):
    """That mailbox is refused by name; all others work; nothing is renumbered."""
    path = site.store.folder(ANN, FOLDER) / UID_DATABASE
    sound = path.read_bytes()
    others = site.ask_courier_on_a_copy(ANN).folders
    edit(path, lines_changed(lambda lines: [lines[0], lines[1].replace(b"1 ", b"4294967294 ", 1),
                                            *lines[2:]]))
    broken = path.read_bytes()
    site.mount.expect_error(UID_DATABASE)
    site.expected_complaints.append(FOLDER.partition(".")[2])
    with site.dovecot.imap(ANN) as imap:
        with pytest.raises((Refused, EOFError)):
            imap.select(FOLDER)
    with site.dovecot.imap(ANN) as imap:
        for name in sorted(set(others) - {FOLDER}):
            imap.select(name)
            assert imap.uids() == sorted(others[name].messages), name
    said = site.mount.log_lines("error") + site.mount.log_lines("warning")
    assert any(str(path.relative_to(site.store.path)) in line and "line 2" in line
               and "4294967294" in line for line in said)
    assert f"{path.parent.name}/{UID_DATABASE}" in site.mount.status()
    assert path.read_bytes() == broken
    edit(path, lambda _: sound)
    assert set(site.agree(ANN).folders[FOLDER].messages) == set(others[FOLDER].messages)


@pytest.mark.parametrize("user", [CEM, DAN, FAY])
def test_never_seen_by_imap(site, user):
    """The first SELECT gives UIDs in Courier's order, from 1, and Courier keeps them."""
    courier = site.ask_courier_on_a_copy(user)
    with site.dovecot.imap(user) as imap:
        imap.select("INBOX")
        assert imap.uids() == list(range(1, len(courier.folders["INBOX"].messages) + 1))
    assert site.agree(user).digests() == courier.digests()


def test_an_empty_mailbox_and_one_that_becomes_empty(site):
    """Neither forgets its UIDVALIDITY or its next UID."""
    assert site.agree(BOB).folders["INBOX.Empty"].messages == {}
    with site.dovecot.imap(GUS) as imap:
        imap.select("INBOX")
        next_uid = imap.status("INBOX")["UIDNEXT"]
        imap.command("STORE 1:* +FLAGS (\\Deleted)")
        imap.command("EXPUNGE")
    empty = site.agree(GUS).folders["INBOX"]
    assert empty.messages == {} and empty.next_uid >= next_uid
    with site.dovecot.imap(GUS) as imap:
        told = imap.append("INBOX", letter(901)).code("APPENDUID").split()
    assert int(told[0]) == empty.uidvalidity and int(told[1]) >= next_uid
    site.agree(GUS)


@pytest.mark.parametrize("first", ["dovecot", "courier"])
def test_a_lost_uid_database(site, first):
    """Deleted while nobody looks, whoever comes first makes a new one and both agree."""
    folder = site.store.folder(GUS, "INBOX.A.B.C")
    before = site.agree(GUS).digests("INBOX.A.B.C")
    with as_mail_user():
        (folder / UID_DATABASE).unlink()
    if first == "courier":
        with site.courier.imap(site.store.maildir(GUS)) as imap:
            imap.select("INBOX.A.B.C")
    site.dovecot.forget_index()
    assert site.agree(GUS).digests("INBOX.A.B.C").keys() == before.keys()


def test_hidden_and_foreign_files(site):
    """Names with a dot, and mail with an odd name, are to Dovecot what they are to Courier."""
    maildir = site.store.maildir(BOB)
    with as_mail_user():
        (maildir / "cur" / ".nfs0000000000000001").write_bytes(b"left by the NFS client")
        (maildir / "new" / ".hidden").write_bytes(b"x")
    names = ("0.x", "Zed", "abc.z", "1700000001.ü ö", "1700000001.a=b;c", "9.z,S=3")
    for number, name in enumerate(names, start=900):
        deliver(maildir, letter(number), name=name)
    expected = site.ask_courier_on_a_copy(BOB).digests()
    # Which of the new ones is numbered first is for the server that comes first to say.
    assert site.agree(BOB).digests().keys() == expected.keys()
    with as_mail_user():
        assert ".nfs0000000000000001" not in os.listdir(site.seen(BOB) / "cur")


def test_a_copy_of_a_name_with_a_space(site):
    """Dovecot writes a GUID with a space, complains of it once, and never again."""
    with site.dovecot.imap(CEM) as imap:
        imap.command("CREATE INBOX.Copies")
        imap.select("INBOX")
        imap.command("COPY 1:*", "INBOX.Copies")
    site.ask_dovecot(CEM)
    told = site.dovecot.complaints()
    assert all("Invalid extension record, removing: b" in line for line in told), told
    answers = site.agree(CEM).folders
    assert {m.digest for m in answers["INBOX.Copies"].messages.values()} == \
        {m.digest for m in answers["INBOX"].messages.values()}


def test_many_mailboxes_at_once(site):
    """Sixty folders made by Courier are each opened by one Dovecot session."""
    names = [f"INBOX.Viele.{number:02}" for number in range(60)]
    with site.courier.imap(site.store.maildir(GUS)) as imap:
        for name in names:
            imap.command("CREATE", encode_folder(name))
            imap.append(name, letter(901), "\\Seen")
    with site.dovecot.imap(GUS) as imap:
        for name in names:
            imap.select(name)
            assert imap.flags() == {1: {"\\Seen"}}
    site.agree(GUS)
