"""POP3 through the mount: Courier's UIDLs in Courier's order, and deletions that arrive."""

import pytest

from servers.answers import digest, same
from servers.courier import deliver
from servers.courier_files import SIZE_LIST, SizeList, edit, with_identities
from servers.store import ANN, BOB, CEM, DAN, EVE, FAY, GUS, USERS, letter

pytestmark = pytest.mark.any_layout

HAVE_A_LIST = (ANN, CEM, EVE, FAY)
HAVE_NO_LIST = (BOB, DAN, GUS)


def retrieve_all(session):
    """[(UIDL, digest of RETR's bytes)] and the sizes of LIST, of a POP3 session."""
    with session as pop3:
        uidls, sizes = pop3.uidls(), pop3.sizes()
        return [(uidl, digest(pop3.retr(number)))
                for number, uidl in enumerate(uidls, start=1)], sizes


@pytest.mark.parametrize("user", HAVE_A_LIST)
def test_what_courier_listed_keeps_its_uidl(site, user):
    """UIDLs, their order and the bytes of RETR are what Courier's POP3 server gives."""
    listed = site.listed_uidls(user)
    copy = site.store.copy(site.lab)
    couriers, sizes = retrieve_all(site.courier.pop3(copy.maildir(user)))
    copy.discard()
    dovecots, shown_sizes = retrieve_all(site.dovecot.pop3(user))
    assert [message for _, message in dovecots] == [message for _, message in couriers]
    for ours, theirs in zip(dovecots, couriers):
        if theirs[0] in listed:
            assert ours[0] == theirs[0]
    assert shown_sizes == sizes
    assert retrieve_all(site.courier.pop3(site.store.maildir(user)))[0] == dovecots
    site.agree(user)


@pytest.mark.parametrize("user", HAVE_NO_LIST)
def test_the_first_pop3_client_ever_comes_to_dovecot(site, user):
    """Its UIDLs are what Courier's POP3 server shows afterwards."""
    uidls, _ = retrieve_all(site.dovecot.pop3(user))
    assert SizeList.read(site.store.maildir(user)).header.startswith("/3 ")
    assert retrieve_all(site.courier.pop3(site.store.maildir(user)))[0] == uidls
    site.agree(user)


@pytest.mark.parametrize("user", [CEM, FAY, DAN])
def test_a_pop3_mailbox_meets_imap(site, user):
    """IMAP comes to a mailbox only POP3 knew: UIDs in Courier's order, UIDLs untouched."""
    before = site.ask_courier_on_a_copy(user)
    listed = site.listed_uidls(user)
    with site.dovecot.imap(user) as imap:
        imap.select("INBOX")
        uids = imap.uids()
    assert uids == sorted(before.folders["INBOX"].messages)
    after = site.agree(user)
    assert after.digests() == before.digests()
    for (uidl, _), (was, _) in zip(after.pop3, before.pop3):
        assert uidl == was or was not in listed


def test_new_mail_between_pop3_sessions(site):
    """Mail that arrives while either server is used gets one UIDL, whoever shows it first."""
    known = {}
    maildir = site.store.maildir(CEM)
    for number in range(6):
        deliver(maildir, letter(number))
        session = site.courier.pop3(maildir) if number % 2 else site.dovecot.pop3(CEM)
        shown, _ = retrieve_all(session)
        for uidl, message in shown:
            assert known.setdefault(message, uidl) == uidl
        assert len({uidl for uidl, _ in shown}) == len(shown)
    site.agree(CEM)


@pytest.mark.parametrize("user", USERS)
def test_dele(site, user):
    """Messages deleted by a POP3 client are gone for all; nothing else changes."""
    before = site.agree(user)
    with site.dovecot.pop3(user) as pop3:
        pop3.dele(1)
        pop3.dele(len(before.pop3))
    after = site.agree(user)
    assert after.pop3 == before.pop3[1:-1]
    kept = {uid: message for uid, message in before.folders["INBOX"].messages.items()
            if uid in after.folders["INBOX"].messages}
    assert after.folders["INBOX"].messages == kept
    assert len(kept) == len(before.pop3) - 2


def test_dele_without_quit(site):
    """A connection that breaks deletes nothing."""
    before = site.ask_dovecot(ANN)
    pop3 = site.dovecot.pop3(ANN)
    pop3.dele(1)
    pop3.close()
    same(before, site.ask_dovecot(ANN), "after a broken connection")
    site.agree(ANN)


def test_entries_of_every_age(site):
    """Entries N:0 and 0:0, in a /3 list too, and a list whose entries differ in UIDVALIDITY."""
    edit(site.store.maildir(CEM) / SIZE_LIST,
         lambda content: with_identities(content, [b"0:0", b"77:0", b"78:1600000000", b"0:0"]))
    courier = site.ask_courier_on_a_copy(CEM)
    uidls = [uidl for uidl, _ in courier.pop3]
    assert uidls[:4] == ["1700000100.+C3+A9", "UID77", "UID78-1600000000", "1700000100.M9P1.mx"]
    same(courier, site.ask_dovecot(CEM), "Dovecot after Courier on a copy",
         new_validity={"INBOX"})
    site.agree(CEM)


def test_an_old_name_arrives_late(site):
    """A message that arrives late with an old name is listed where Courier lists it."""
    deliver(site.store.maildir(CEM), letter(1), name="1600000000.old")
    courier = site.ask_courier_on_a_copy(CEM)
    answers = site.agree(CEM)
    assert [m for _, m in answers.pop3] == [m for _, m in courier.pop3]
    assert answers.pop3[0][1] == courier.pop3[0][1]


def test_uidls_survive_the_state_directory(site):
    """UIDLs that only Dovecot has shown are in Courier's list, not in ours alone."""
    with site.dovecot.pop3(DAN) as pop3:
        uidls = pop3.uidls()
    site.mount.remount(forget=True)
    site.dovecot.forget_index()
    with site.dovecot.pop3(DAN) as pop3:
        assert pop3.uidls() == uidls
    assert [uidl for uidl, _ in site.agree(DAN).pop3] == uidls


def test_a_list_without_entries(site):
    """A POP3 client once took all mail away. New mail is seen by IMAP first, then by both POP3s."""
    maildir = site.store.maildir(CEM)
    with site.courier.pop3(maildir) as pop3:
        for number in range(1, len(pop3.uidls()) + 1):
            pop3.dele(number)
    edit(maildir / SIZE_LIST, lambda text: text[:text.index(b"\n") + 1])
    assert SizeList.read(maildir).uidls == {}
    deliver(maildir, letter(1))
    deliver(maildir, letter(2))
    for _ in range(2):
        with site.dovecot.imap(CEM) as imap:
            imap.select("INBOX")
            assert len(imap.uids()) == 2
    shown, _ = retrieve_all(site.dovecot.pop3(CEM))
    assert retrieve_all(site.courier.pop3(maildir))[0] == shown
    deliver(maildir, letter(3))
    first, _ = retrieve_all(site.courier.pop3(maildir))
    assert len(first) == 3
    # The third may be listed before them: Exim's names do not sort by time within a second.
    assert [message for message in first if message in shown] == shown
    assert retrieve_all(site.dovecot.pop3(CEM))[0] == first
    site.agree(CEM)
