"""Each action through Dovecot is there for Courier, and each of Courier's for Dovecot."""

import pytest

from servers.courier import deliver
from servers.courier_files import UidDatabase
from servers.imap import Refused, encode_folder
from servers.store import ANN, BOB, DAN, GUS, letter

pytestmark = pytest.mark.any_layout

SOON = {"mailbox_idle_check_interval": "1 secs"}


def uid_of(reply):
    """The UID that APPENDUID or COPYUID told the client."""
    code = reply.code("APPENDUID") or reply.code("COPYUID")
    return int(code.split()[-1])


@pytest.mark.ordinary_layout
def test_new_mail_by_noop(site):
    """Mail that arrives below the mount is there at the next NOOP, with Courier's next UID."""
    with site.dovecot.imap(ANN) as imap:
        reply = imap.select("INBOX")
        next_uid = int(reply.code("UIDNEXT"))
        recent = reply.named("RECENT")[-1].number
        for number in range(3):
            deliver(site.store.maildir(ANN), letter(number))
            reply = imap.command("NOOP")
            assert reply.named("EXISTS")
            assert reply.named("RECENT")[-1].number == recent + number + 1
            assert imap.uids()[-1] == next_uid + number
    with site.dovecot.imap(ANN) as imap:
        assert imap.select("INBOX").named("RECENT")[-1].number == 0
    answers = site.agree(ANN)
    assert answers.folders["INBOX"].next_uid == next_uid + 3


def test_new_mail_by_idle(site):
    """Mail that arrives below the mount wakes an idle client."""
    with site.dovecot.imap(ANN, **SOON) as imap:
        next_uid = int(imap.select("INBOX").code("UIDNEXT"))
        with imap.idle() as wait_for:
            deliver(site.store.maildir(ANN), letter(1))
            wait_for("EXISTS")
        assert imap.uids()[-1] == next_uid
    site.agree(ANN)


@pytest.mark.ordinary_layout
def test_new_mail_delivered_through_the_mount(site):
    """Exim may deliver into the mount as well."""
    with site.dovecot.imap(ANN, **SOON) as imap:
        next_uid = int(imap.select("INBOX").code("UIDNEXT"))
        with imap.idle() as wait_for:
            deliver(site.seen(ANN), letter(1))
            wait_for("EXISTS")
        assert imap.uids()[-1] == next_uid
    site.agree(ANN)


@pytest.mark.ordinary_layout
@pytest.mark.parametrize("folder", ["INBOX", "INBOX.Entwürfe", "INBOX.Lists.courier-users"])
def test_append(site, folder):
    """Messages with flags, keywords and dates; the UID told is the UID for ever."""
    told = {}
    with site.dovecot.imap(ANN) as imap:
        for flags, date in (("", None), ("\\Seen \\Answered", "01-Mar-2020 10:11:12 +0000"),
                            ("\\Flagged $Label1 NewWord", None)):
            uid = uid_of(imap.append(folder, letter(len(told)), flags, date))
            told[uid] = set(flags.split())
    shown = site.agree(ANN).folders[folder].messages
    for uid, flags in told.items():
        assert shown[uid].flags == flags
    assert {m.date for m in shown.values()} >= {1583057472.0}


def test_append_to_a_selected_mailbox(site):
    """An append to the open mailbox, between deliveries by another program."""
    with site.dovecot.imap(BOB) as imap:
        imap.select("INBOX")
        for number in range(4):
            deliver(site.store.maildir(BOB), letter(number))
            uid = uid_of(imap.append("INBOX", letter(90 + number), "\\Seen"))
            imap.command("NOOP")
            assert imap.flags()[uid] == {"\\Seen"}
    site.agree(BOB)


def test_copy_and_move(site):
    """COPY keeps flags and keywords; MOVE also takes the message away."""
    with site.dovecot.imap(ANN) as imap:
        imap.select("INBOX")
        flags = imap.flags()
        uids = sorted(flags)
        copied = imap.command("UID COPY", f"{uids[1]},{uids[2]}", encode_folder("INBOX.R&D"))
        moved = imap.command("UID MOVE", uids[0], encode_folder("INBOX.日本語"))
    answers = site.agree(ANN)
    assert uids[0] not in answers.folders["INBOX"].messages
    targets = copied.code("COPYUID").split()[2]
    first, _, last = targets.partition(":")
    for source, target in zip(uids[1:3], (int(first), int(last))):
        assert answers.folders["INBOX.R&D"].messages[target].flags == flags[source]
    assert uid_of(moved) in answers.folders["INBOX.日本語"].messages


def change_the_last_two(site, folder):
    """Courier flags the last message of a folder and removes the one before."""
    with site.courier.imap(site.store.maildir(ANN)) as imap:
        count = imap.select(folder).named("EXISTS")[-1].number
        imap.command(f"STORE {count} +FLAGS (\\Flagged)")
        imap.command(f"STORE {count - 1} +FLAGS (\\Deleted)")
        imap.command("EXPUNGE")


@pytest.mark.parametrize("count", [3, 20])
def test_copies_changed_before_they_are_looked_at(site, count):
    """Dovecot does not look into the folder that it copied to until it is selected; meanwhile Courier does."""
    folder = "INBOX.Lists.courier-users"
    maildir = site.store.maildir(ANN)
    for number in range(count):
        deliver(maildir, letter(number))
    with site.dovecot.imap(ANN) as imap:
        imap.select("INBOX")
        last = len(imap.uids())
        reply = imap.command("COPY", f"{last - count + 1}:{last}", encode_folder(folder))
        told = reply.code("COPYUID").split()[2].partition(":")
        change_the_last_two(site, folder)
        imap.select(folder)
        flags = imap.flags()
    assert "\\Flagged" in flags[int(told[2])]
    assert int(told[2]) - 1 not in flags
    assert set(range(int(told[0]), int(told[2]) - 1)) <= set(flags)
    assert set(site.agree(ANN).folders[folder].messages) == set(flags)


def test_copy_within_a_mailbox(site):
    """A copy beside its original is a message of its own."""
    with site.dovecot.imap(ANN) as imap:
        imap.select("INBOX")
        before = imap.uids()
        copy = uid_of(imap.command("UID COPY", before[0], "INBOX"))
    folder = site.agree(ANN).folders["INBOX"]
    assert set(folder.messages) == {*before, copy}
    assert folder.messages[copy].digest == folder.messages[before[0]].digest


@pytest.mark.ordinary_layout
def test_store_flags_and_keywords(site):
    """Flags and keywords set, added and removed through Dovecot."""
    with site.dovecot.imap(ANN) as imap:
        imap.select("INBOX")
        first, second, third, *_ = imap.uids()
        imap.command("UID STORE", first, "+FLAGS (\\Answered $Label1 Brand-New)")
        imap.command("UID STORE", second, "FLAGS (\\Seen)")
        imap.command("UID STORE", third, "+FLAGS (Brand-New)")
        imap.command("UID STORE", third, "-FLAGS (Brand-New \\Flagged)")
        wanted = imap.flags()
    shown = site.agree(ANN).folders["INBOX"].messages
    assert {uid: m.flags for uid, m in shown.items()} == wanted
    assert {"$Label1", "Brand-New"} <= shown[first].flags
    assert shown[second].flags == {"\\Seen"}


@pytest.mark.ordinary_layout
def test_flags_in_one_session_that_stays(site):
    """One Dovecot session stays while Courier changes flags and keywords in between."""
    with site.dovecot.imap(ANN) as imap:
        imap.select("INBOX")
        uid = imap.uids()[0]
        for word in ("One", "Two", "Three"):
            with site.courier.imap(site.store.maildir(ANN)) as courier:
                courier.select("INBOX")
                courier.command("UID STORE", uid, f"+FLAGS (Courier{word} \\Flagged)")
                courier.command("NOOP")
            imap.command("NOOP")
            assert {f"Courier{word}", "\\Flagged"} <= imap.flags()[uid]
            imap.command("UID STORE", uid, f"+FLAGS (Dovecot{word})")
            imap.command("UID STORE", uid, "-FLAGS (\\Flagged)")
            with site.courier.imap(site.store.maildir(ANN)) as courier:
                courier.select("INBOX")
                assert f"Dovecot{word}" in courier.flags()[uid]
                assert "\\Flagged" not in courier.flags()[uid]
    site.agree(ANN)


def test_expunge(site):
    """Expunged messages are gone for both; the others keep their UIDs."""
    with site.dovecot.imap(ANN) as imap:
        imap.select("INBOX")
        uids = imap.uids()
        gone = {uids[0], uids[3], uids[-1]}
        imap.command("UID STORE", ",".join(map(str, gone)), "+FLAGS (\\Deleted)")
        imap.command("EXPUNGE")
    folder = site.agree(ANN).folders["INBOX"]
    assert set(folder.messages) == set(uids) - gone
    with site.dovecot.imap(ANN) as imap:
        uid = uid_of(imap.append("INBOX", letter(1)))
    assert uid > max(uids), "an expunged UID is never given out again"
    site.agree(ANN)


def test_folders(site):
    """CREATE, RENAME with children, DELETE; a folder of Dovecot's has a uid database."""
    with site.dovecot.imap(GUS) as imap:
        imap.command("CREATE", encode_folder("INBOX.Neu & größer"))
        imap.append("INBOX.Neu & größer", letter(1), "\\Seen Word")
        imap.command("RENAME", "INBOX.A.B", "INBOX.Z")
        imap.command("DELETE", encode_folder("INBOX.Å - ångström"))
    database = UidDatabase.read(site.store.folder(GUS, "INBOX.Neu & größer"))
    assert len(database.uids) == 1
    names = set(site.agree(GUS).folders)
    assert {"INBOX.Neu & größer", "INBOX.Z", "INBOX.Z.C", "INBOX.Z.C.D"} <= names
    assert not {n for n in names if n.startswith("INBOX.A.B") or "ångström" in n}


def test_a_deleted_folder_made_again(site):
    """The new folder is another one: nothing of the old one's messages is in it."""
    validities = []
    for _ in range(2):
        with site.dovecot.imap(GUS) as imap:
            imap.command("CREATE INBOX.Twice")
            imap.append("INBOX.Twice", letter(1), "\\Flagged")
        validities.append(site.agree(GUS).folders["INBOX.Twice"].uidvalidity)
        with site.dovecot.imap(GUS) as imap:
            imap.command("DELETE INBOX.Twice")
        assert "INBOX.Twice" not in site.agree(GUS).folders
    with site.courier.imap(site.store.maildir(GUS)) as imap:
        imap.command("CREATE INBOX.Twice")
    assert site.agree(GUS).folders["INBOX.Twice"].messages == {}


def test_an_empty_folder_of_each_server(site):
    """A folder made by one server and opened by the other before any mail is in it."""
    with site.dovecot.imap(BOB) as imap:
        imap.command("CREATE INBOX.Dovecots")
    with site.courier.imap(site.store.maildir(BOB)) as imap:
        imap.command("CREATE INBOX.Couriers")
    before = site.agree(BOB).folders
    with site.dovecot.imap(BOB) as imap:
        uid_of(imap.append("INBOX.Couriers", letter(1)))
    with site.courier.imap(site.store.maildir(BOB)) as imap:
        imap.append("INBOX.Dovecots", letter(1))
    after = site.agree(BOB).folders
    for name in ("INBOX.Dovecots", "INBOX.Couriers"):
        assert after[name].uidvalidity == before[name].uidvalidity
        assert len(after[name].messages) == 1


SEARCHES = [
    "ALL", "UNSEEN", "FLAGGED UNSEEN", "KEYWORD $Label1", "UNKEYWORD $Forwarded",
    "SUBJECT \"letter 3\"", "SINCE 15-Nov-2023", "BEFORE 15-Nov-2023", "LARGER 500",
    "NOT ANSWERED UID 1:6", "BODY \"Line one\"", "OR KEYWORD Junk KEYWORD NonJunk",
]
SORTS = ["(SUBJECT) UTF-8 ALL", "(REVERSE DATE) UTF-8 ALL", "(SIZE SUBJECT) UTF-8 ALL",
         "(REVERSE ARRIVAL) UTF-8 SEEN", "(FROM SUBJECT) UTF-8 UNSEEN"]


@pytest.mark.ordinary_layout
def test_search_and_sort(site):
    """SEARCH and SORT find the same UIDs, in the same order."""
    site.agree(ANN)
    with site.dovecot.imap(ANN) as dovecot, \
            site.courier.imap(site.store.maildir(ANN)) as courier:
        dovecot.select("INBOX")
        courier.select("INBOX")
        for search in SEARCHES:
            found = [set(imap.command("UID SEARCH", search).named("SEARCH")[0].values)
                     for imap in (dovecot, courier)]
            assert found[0] == found[1], search
        for sort in SORTS:
            found = [imap.command("UID SORT", sort).named("SORT")[0].values
                     for imap in (dovecot, courier)]
            assert found[0] == found[1], sort


def test_delivery_by_lda(site):
    """dovecot-lda, into the INBOX and into a folder, with and without a client watching."""
    site.dovecot.deliver(ANN, letter(1))
    with site.dovecot.imap(ANN) as imap:
        imap.select("INBOX")
        before = imap.uids()
        site.dovecot.deliver(ANN, letter(2))
        imap.command("NOOP")
        assert imap.uids()[:-1] == before
    site.dovecot.deliver(ANN, letter(3), "INBOX.Lists")
    site.agree(ANN)


def test_delivery_by_lmtp_and_a_client_over_tcp(site):
    """A running Dovecot: LMTP deliveries, seen by a client that is idle on another session."""
    with site.dovecot.master() as master:
        with master.imap(ANN) as imap:
            next_uid = int(imap.select("INBOX").code("UIDNEXT"))
            with imap.idle() as wait_for:
                master.deliver(ANN, letter(1))
                wait_for("EXISTS")
            master.deliver(ANN, letter(2))
            imap.command("NOOP")
            assert imap.uids()[-2:] == [next_uid, next_uid + 1]
        master.deliver(DAN, letter(3))
    site.agree(ANN)
    site.agree(DAN)


def test_a_refused_folder_leaves_nothing_behind(site):
    """What Dovecot refuses leaves no trace that Courier could show."""
    before = set(site.agree(GUS).folders)
    with site.dovecot.imap(GUS) as imap:
        for name in ("INBOX.A", "INBOX.A.B"):
            with pytest.raises(Refused):
                imap.command("CREATE", name)
        with pytest.raises(Refused):
            imap.append("INBOX.Not there", letter(1))
    assert set(site.agree(GUS).folders) == before
