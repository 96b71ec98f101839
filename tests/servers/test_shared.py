"""Folders of one user that all users come into, through either server.

Dovecot runs with mount-examples/dovecot-2.3-shared.conf, in which only paths were changed.
"""

import shutil

import pytest

from servers.conversion import Ctl
from servers.courier_files import SUBSCRIPTIONS, UidDatabase
from servers.imap import Refused, decode_folder, encode_folder
from servers.lab import as_mail_user
from servers.rights import SHARED, SITE, SharedSite, allow
from servers.store import ANN, BOB, CEM, DAN, EVE, letter

HAM = "INBOX.SiteHam"
SHARED_HAM = "#shared.site.SiteHam"

SPAM_RIGHTS = {"anyone": "li", ANN: "lri", BOB: "lrs", f"-{EVE}": "li"}


@pytest.fixture(name="site")
def make_site(lab, courier, store):
    """A site where all but Eve may post, Ann may also read, and Bob may only read."""
    with SharedSite(lab, courier, store) as site:
        with site.through_courier(SITE) as imap:
            imap.command("CREATE", HAM)
            for who, rights in SPAM_RIGHTS.items():
                allow(imap, who, rights)
            allow(imap, f"-{BOB}", "i")
        yield site


def sessions(site, user):
    """A session of the user with each server, one after the other."""
    for through in (site.through_courier, site.through_dovecot):
        with through(user) as imap:
            yield imap


def test_who_sees_what(site):
    """LIST: the folders that a user may look up, under the same names."""
    for user, expected in ((ANN, True), (BOB, True), (DAN, True), (EVE, False), (SITE, None)):
        for imap in sessions(site, user):
            names = set(imap.folders()) | shared_folders(imap)
            assert SHARED_HAM not in names
            assert expected is None or (SHARED in names) == expected
            if user == SITE:
                assert {"INBOX.SiteSpam", HAM} <= names


def shared_folders(imap):
    """Courier lists them only to those who ask for them."""
    reply = imap.command('LIST "" "#shared.*"')
    return {decode_folder(response.values[2]) for response in reply.named("LIST")}


def test_who_may_post(site):
    """Messages are put there by copying, as mail clients report spam, and by APPEND."""
    for user in (ANN, DAN):
        for imap in sessions(site, user):
            imap.append("INBOX", letter(1))
            imap.select("INBOX")
            imap.command("COPY 1", encode_folder(SHARED))
            imap.append(SHARED, letter(2))
    for user in (BOB, EVE):
        for imap in sessions(site, user):
            imap.append("INBOX", letter(1))
            imap.select("INBOX")
            with pytest.raises(Refused):
                imap.command("COPY 1", encode_folder(SHARED))
            with pytest.raises(Refused):
                imap.append(SHARED, letter(2))
    for imap in sessions(site, SITE):
        assert imap.status("INBOX.SiteSpam", "MESSAGES")["MESSAGES"] == 8


def test_who_may_read(site):
    """Who may only post cannot open the folder."""
    for imap in sessions(site, SITE):
        imap.append("INBOX.SiteSpam", letter(1))
    for user in (ANN, BOB):
        for imap in sessions(site, user):
            imap.select(SHARED)
            bodies = imap.command("FETCH 1:* (BODY.PEEK[])").fetched()
            assert len(bodies) == 2 and all(b"letter 1" in item["BODY[]"] for item in bodies)
    for user in (CEM, EVE):
        for imap in sessions(site, user):
            with pytest.raises(Refused):
                imap.select(SHARED)


def test_one_message_has_one_uid(site):
    """For the owner and for his guests, on both servers, whoever put it there."""
    told = []
    for i, user in enumerate((ANN, SITE, ANN, SITE)):
        folder = "INBOX.SiteSpam" if user == SITE else SHARED
        for imap in sessions(site, user):
            told.append(imap.append(folder, letter(i)).code("APPENDUID"))
    assert [int(code.split()[1]) for code in told] == list(range(1, 9))
    assert len({code.split()[0] for code in told}) == 1
    for user, folder in ((SITE, "INBOX.SiteSpam"), (ANN, SHARED), (BOB, SHARED)):
        for imap in sessions(site, user):
            reply = imap.examine(folder)
            assert reply.code("UIDVALIDITY") == told[0].split()[0]
            assert imap.uids() == list(range(1, 9))
    database = UidDatabase.read(site.store.folder(SITE, "INBOX.SiteSpam"))
    assert sorted(database.uids.values()) == list(range(1, 9))


def test_what_is_read_is_read_for_all(site):
    """Without INDEXPVT, as under Courier; a user without `s` changes nothing."""
    for imap in sessions(site, SITE):
        imap.append("INBOX.SiteSpam", letter(1))
    with site.through_dovecot(BOB) as imap:
        imap.select(SHARED)
        imap.command("STORE 1 +FLAGS (\\Seen)")
    with site.through_courier(BOB) as imap:
        imap.select(SHARED)
        imap.command("STORE 2 +FLAGS (\\Seen)")
        imap.command("STORE 2 +FLAGS (\\Flagged)", expect=None)
    for user, folder in ((SITE, "INBOX.SiteSpam"), (ANN, SHARED), (BOB, SHARED)):
        for imap in sessions(site, user):
            imap.examine(folder)
            assert imap.flags() == {1: {"\\Seen"}, 2: {"\\Seen"}}


def test_deliveries(site):
    """Dovecot's LDA needs `p` in the folder of somebody else, and nothing in one's own."""
    site.dovecot.deliver(SITE, letter(1), "INBOX.SiteSpam")
    site.dovecot.deliver(ANN, letter(2), SHARED)
    with site.through_courier(SITE) as imap:
        assert imap.status("INBOX.SiteSpam", "MESSAGES")["MESSAGES"] == 1
        allow(imap, ANN, "lrip")
    site.dovecot.deliver(ANN, letter(3), SHARED)
    for imap in sessions(site, SITE):
        assert imap.status("INBOX.SiteSpam", "MESSAGES")["MESSAGES"] == 2


def test_over_the_network(site):
    """A whole Dovecot, with logins and LMTP, reads the example, too."""
    with site.dovecot.master() as master:
        master.deliver(ANN, letter(1))
        with master.imap(ANN) as imap:
            imap.select("INBOX")
            imap.command(f"COPY {len(imap.uids())}", encode_folder(SHARED))
            assert SHARED in imap.folders()
        with master.imap(EVE) as imap, pytest.raises(Refused):
            imap.append(SHARED, letter(2))
    for imap in sessions(site, SITE):
        assert imap.status("INBOX.SiteSpam", "MESSAGES")["MESSAGES"] == 1


def test_a_subscription_is_couriers(site):
    """Dovecot has no list to keep it in, says so, and leaves Courier's alone."""
    with site.through_courier(ANN) as imap:
        imap.command("SUBSCRIBE", encode_folder(SHARED))
    for imap in sessions(site, ANN):
        imap.command("SUBSCRIBE INBOX.Lists")
    with site.through_dovecot(ANN) as imap:
        with pytest.raises(Refused):
            imap.command("SUBSCRIBE", encode_folder(SHARED))
    lines = (site.store.maildir(ANN) / SUBSCRIPTIONS).read_text(encoding="utf-8").splitlines()
    assert {SHARED, "INBOX.Lists"} <= set(lines)


def test_a_converted_folder_is_closed_to_couriers_guests(lab, site):
    """The owner's account is Dovecot's: Courier gives guests no right any more, so that none of them
    makes it number the folder anew; revert gives them theirs again."""
    with site.through_courier(ANN) as imap:
        imap.append(SHARED, letter(1))
        before = imap.select(SHARED).code("UIDVALIDITY"), imap.uids()
    folder = site.store.folder(SITE, "INBOX.SiteSpam")
    ctl = Ctl(lab, site.store)
    ctl.run("convert", "*/site")
    for user in (ANN, BOB, DAN):
        with site.through_courier(user) as imap:
            assert SHARED not in set(imap.folders()) | shared_folders(imap)
            for command in ("SELECT", "EXAMINE"):
                with pytest.raises(Refused):
                    imap.command(command, encode_folder(SHARED))
            with pytest.raises(Refused):
                imap.append(SHARED, letter(2))
    # LIST makes a file of rights, which gives guests none.
    assert not (folder / "courierimapuiddb").exists()
    ctl.run("revert", "*/site")
    with site.through_courier(ANN) as imap:
        assert (imap.select(SHARED).code("UIDVALIDITY"), imap.uids()) == before
    with as_mail_user():
        for aside in site.store.path.rglob("courierfs-aside"):
            shutil.rmtree(aside)
