"""What the known script for this conversion gets wrong, each thing once, on stores made for it.

`courier-dovecot-migrate.pl` loses or changes what clients hold in these cases (shown by running it on
data from real servers). Here Courier answers on a copy, the original is converted, and Dovecot alone
must answer the same.
"""

import os
import re

import pytest

from servers.answers import Answers, ask_imap, ask_pop3, differences, nothing_in, same
from servers.conversion import Ctl
from servers.courier import deliver
from servers.courier_files import (
    SIZE_LIST, SUBSCRIPTIONS, UID_DATABASE, UidDatabase, as_version_2, edit)
from servers.dovecot import Dovecot
from servers.lab import as_mail_user
from servers.mount import suite_options
from servers.site import ask_courier
from servers.store import Builder, letter

pytestmark = pytest.mark.skipif(bool(suite_options()), reason="courierctl takes no options of a mount")

IVY = "ivy@example.org"


class Case:
    """A store with one user, and what Courier and a converted Dovecot say of it."""

    def __init__(self, lab, courier):
        self._lab = lab
        self.courier = courier
        self.builder = Builder(lab, courier)
        self.store = self.builder.store
        self.maildir = self.builder.add_user(IVY)
        self.ctl = Ctl(lab, self.store)

    def imap(self):
        """A session with Courier."""
        return self.courier.imap(self.maildir)

    def pop3(self):
        """A login to Courier's POP3 server."""
        self.builder.log_in_by_pop3(IVY)

    def ask_courier(self):
        """What Courier would say: it is asked on a copy."""
        copy = self.store.copy(self._lab)
        try:
            return ask_courier(self.courier, copy, IVY)
        finally:
            copy.discard()

    def ask_native(self):
        """What Dovecot says, without us."""
        dovecot = Dovecot(self._lab, self.store.path)
        with dovecot.imap(IVY) as imap:
            folders, subscriptions = ask_imap(imap)
        with dovecot.pop3(IVY) as pop3:
            answers = Answers(folders, subscriptions, ask_pop3(pop3))
        nothing_in(dovecot.complaints(), "native Dovecot complained")
        return answers

    def convert(self, **invented):
        """Converts; Dovecot must say what Courier would have said. Its answers."""
        used_by_pop3 = (self.maildir / SIZE_LIST).exists()
        before = self.ask_courier()
        self.ctl.run("convert")
        after = self.ask_native()
        if not used_by_pop3:
            before.pop3 = after.pop3  # no client was told any UIDL
        nothing_in(differences(before, after, **invented), "the conversion changed")
        return after


@pytest.fixture(name="case")
def make_case(lab, courier):
    """An account without mail."""
    case = Case(lab, courier)
    yield case
    case.store.discard()


def test_1_messages_that_only_pop3_saw(case):
    """Get their UIDs in the order in which Courier would give them."""
    case.builder.deliver(IVY)
    with case.imap() as imap:
        imap.select("INBOX")
    case.builder.deliver(IVY, count=8)
    case.pop3()
    answers = case.convert()
    assert sorted(answers.folders["INBOX"].messages) == list(range(1, 10))


def test_1_no_uid_database_at_all(case):
    """The same for a maildir that only POP3 ever used."""
    case.builder.deliver(IVY, count=8)
    case.pop3()
    answers = case.convert(new_validity={"INBOX"})
    assert sorted(answers.folders["INBOX"].messages) == list(range(1, 9))


def test_2_a_blank_in_a_file_name(case):
    """One odd name stops nothing."""
    case.builder.deliver(IVY, count=2)
    case.builder.deliver(IVY, name="1700003650.one two.mx,S=3")
    with case.imap() as imap:
        imap.select("INBOX")
    case.pop3()
    case.convert()


@pytest.mark.parametrize("damage", [
    lambda content: content + b"nonsense\n",
    lambda content: content.partition(b"\n")[0] + b"\n",
    lambda content: re.sub(rb" \d+\n", b"\n", content, 1),
], ids=["a bad line", "a header only", "one number in the header"])
def test_2_and_3_odd_size_lists(case, damage):
    """What Courier makes of such a list is what Dovecot shows."""
    case.builder.deliver(IVY, count=4)
    with case.imap() as imap:
        imap.select("INBOX")
    case.pop3()
    edit(case.maildir / SIZE_LIST, damage)
    # A list without entries: no client holds a UIDL that counts for Courier.
    empty = (case.maildir / SIZE_LIST).read_bytes().count(b"\n") == 1
    case.convert(unbound=set(case.ask_courier().digests()) if empty else ())


def test_3_an_old_size_list(case):
    """Of version 2."""
    case.builder.deliver(IVY, count=4)
    with case.imap() as imap:
        imap.select("INBOX")
    case.pop3()
    edit(case.maildir / SIZE_LIST, as_version_2)
    case.convert()


def test_4_sizes(case):
    """Messages without a last line end, empty ones, and those stored with CR LF: a size is the number of
    bytes that one gets."""
    bodies = [letter(1, "no line end"), b"", letter(2).replace(b"\n", b"\r\n"), b"\n", b"x",
              b"Subject: x\r\n\r\nmixed\nends\r\n"]
    for number, body in enumerate(bodies):
        deliver(case.maildir, body, name=f"{1700000000 + number}.s{number}.mx,S={len(body)}")
    with case.imap() as imap:
        imap.select("INBOX")
    case.pop3()
    case.ctl.run("convert")
    dovecot = Dovecot(case._lab, case.store.path)  # pylint: disable=protected-access
    with dovecot.imap(IVY) as imap:
        imap.select("INBOX")
        for item in imap.command("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])").fetched():
            assert int(item["RFC822.SIZE"]) == len(item["BODY[]"]), item["UID"]
    for name in os.listdir(case.maildir / "cur"):
        for size in re.findall(",W=([0-9]+)", name):
            data = (case.maildir / "cur" / name).read_bytes()
            assert int(size) == len(data) + len(re.findall(b"(?<!\r)\n", data))


def test_5_keywords_in_an_update_file_only(case):
    """A keyword that no scan has merged yet, and there is no list."""
    case.builder.deliver(IVY, count=2)
    with case.imap() as imap:
        imap.select("INBOX")
        imap.command("STORE 1 +FLAGS (Pending)")
    assert not (case.maildir / "courierimapkeywords/:list").exists()
    answers = case.convert()
    assert "Pending" in answers.folders["INBOX"].messages[1].flags


def test_6_keywords_in_a_merged_update(case):
    """The list is empty; what counts is in .N.BASE."""
    case.builder.deliver(IVY, count=2)
    for command in ("STORE 1 +FLAGS (Merged)", "NOOP"):
        with case.imap() as imap:
            imap.select("INBOX")
            imap.command(command)
    keywords = case.maildir / "courierimapkeywords"
    assert any(re.match(r"\.\d+\.", name) for name in os.listdir(keywords))
    with as_mail_user():
        (keywords / ":list").write_bytes(b"")
    answers = case.convert()
    assert "Merged" in answers.folders["INBOX"].messages[1].flags


def test_7_more_than_26_keywords(case):
    """No letter beyond z; the others are named, and come back with revert."""
    names = [f"keyword{number}" for number in range(30)]
    case.builder.deliver(IVY)
    with case.imap() as imap:
        imap.select("INBOX")
        imap.command(f"STORE 1 +FLAGS ({' '.join(names)})")
    before = case.ask_courier()
    case.ctl.run("convert")
    (name,) = os.listdir(case.maildir / "cur")
    assert name.endswith(":2,abcdefghijklmnopqrstuvwxyz")
    assert "beyond the 26" in case.ctl.journal.read_text()
    case.ctl.run("revert")
    after = case.ask_courier()
    before.pop3 = after.pop3  # nobody had used it
    same(before, after, "reverted")


def test_8_letters_and_a_courier_afterwards(case):
    """After revert no letter is in a name, and a STORE by Courier costs no keyword."""
    case.builder.deliver(IVY, count=2)
    with case.imap() as imap:
        imap.select("INBOX")
        imap.command("STORE 1:2 +FLAGS (Foo)")
    case.convert()
    assert all(name.endswith(":2,a") for name in os.listdir(case.maildir / "cur"))
    case.ctl.run("revert")
    assert all(name.endswith(":2,") for name in os.listdir(case.maildir / "cur"))
    with case.imap() as imap:
        imap.select("INBOX")
        imap.command("STORE 1 +FLAGS (\\Seen)")
        assert imap.flags() == {1: {"Foo", "\\Seen"}, 2: {"Foo"}}


def test_9_subscriptions(case):
    """Names beyond ASCII, with an &, and of shared folders."""
    with case.imap() as imap:
        for name in ('"INBOX.Entw&APw-rfe"', '"INBOX.a&-b"'):
            imap.command("CREATE", name)
            imap.command("SUBSCRIBE", name)
    shared = b"#shared.ann.Team\n"
    edit(case.maildir / SUBSCRIPTIONS, lambda content: content + shared)
    answers = case.convert(new_validity={"INBOX", "INBOX.Entwürfe", "INBOX.a&b"})
    assert answers.subscriptions >= {"INBOX.Entwürfe", "INBOX.a&b"}
    assert b"#shared" not in (case.maildir / "subscriptions").read_bytes()
    case.ctl.run("revert")
    assert shared in (case.maildir / SUBSCRIPTIONS).read_bytes()


def test_10_double_uids(case, lab):
    """Two messages under one UID: the same result each time, and no UID that was told names another."""
    case.builder.deliver(IVY, count=3)
    with case.imap() as imap:
        imap.select("INBOX")
    edit(case.maildir / UID_DATABASE,
         lambda content: content.replace(b"\n2 ", b"\n1 ", 1))
    lists = []
    for _ in range(2):
        copy = case.store.copy(lab)
        Ctl(lab, copy).run("convert")
        lines = (copy.maildir(IVY) / "dovecot-uidlist").read_text().splitlines()
        lists.append([re.sub(" G[0-9a-f]{32}", "", line) for line in lines])
        copy.discard()
    assert lists[0] == lists[1]
    uids = [int(line.split()[0]) for line in lists[0][1:]]
    assert uids == [3, 4, 5]


def test_11_mail_in_new(case):
    """Is in the list, with the UID that Courier would give."""
    case.builder.deliver(IVY, count=2)
    with case.imap() as imap:
        imap.select("INBOX")
    case.builder.deliver(IVY, count=3)
    case.convert()
    assert len((case.maildir / "dovecot-uidlist").read_text().splitlines()) == 6


def test_12_the_way_back(case):
    """UIDLs of both kinds, also for names without flags and for sizes that no name tells."""
    case.builder.deliver(IVY, count=3)
    with case.imap() as imap:
        imap.select("INBOX")
    case.pop3()
    case.convert()
    dovecot = Dovecot(case._lab, case.store.path)  # pylint: disable=protected-access
    for number in range(3):
        dovecot.deliver(IVY, letter(900 + number))
    deliver(case.maildir, letter(950), name="1700009999.plain.mx")
    after = case.ask_native()
    case.ctl.run("revert")
    again = case.ask_courier()
    for answers in (after, again):
        answers.pop3.sort()
    same(after, again, "reverted")
    entries = (case.maildir / SIZE_LIST).read_bytes().splitlines()[1:]
    assert len(entries) == 7 and all(b":2," in entry for entry in entries)


def test_13_no_direction_is_guessed(case):
    """A dovecot-uidlist that is newer than Courier's files, and says something else, is refused."""
    case.builder.deliver(IVY, count=2)
    with case.imap() as imap:
        imap.select("INBOX")
    before = UidDatabase.read(case.maildir)
    base = sorted(before.uids)[0]
    text = f"3 V77 N9\n8 :{base}\n"
    with as_mail_user():
        (case.maildir / "dovecot-uidlist").write_text(text)
    case.ctl.run("convert", expect=1)
    assert UidDatabase.read(case.maildir) == before
    out, _ = case.ctl.run("revert")
    assert "0 mailboxes" in out and UidDatabase.read(case.maildir) == before


def test_14_nothing_is_written_in_place(case):
    """Whoever has a file open keeps what it was."""
    case.builder.deliver(IVY, count=2)
    with case.imap() as imap:
        imap.select("INBOX")
    case.convert()
    case.ctl.run("revert")
    with open(case.maildir / UID_DATABASE, "rb") as file:
        before = file.read()
        case.ctl.run("convert")
        case.ctl.run("revert")
        file.seek(0)
        assert file.read() == before
        assert os.stat(case.maildir / UID_DATABASE).st_ino != os.fstat(file.fileno()).st_ino
