"""Dovecot through the mount answers as Courier does, for every user and mailbox."""

import pytest

from servers.answers import ask_folder, different_folder, nothing_in, same
from servers.courier_files import messages
from servers.store import ANN, BOB, CEM, DAN, USERS

pytestmark = pytest.mark.any_layout


def invented_by(courier, site, user):
    """The mailboxes and messages for which Courier had to invent a UIDVALIDITY or a UIDL."""
    listed = site.listed_uidls(user)
    return {"new_validity": site.without_uids(user, courier.folders),
            "unbound": {message for uidl, message in courier.pop3 if uidl not in listed}}


@pytest.mark.ordinary_layout
def test_the_store_is_worth_testing(site):
    """The store has what the promise is about: many mailboxes, used in every way."""
    answers = {user: site.ask_courier_on_a_copy(user) for user in USERS}
    folders = [folder for answer in answers.values() for folder in answer.folders.values()]
    assert len(folders) >= 25
    assert any(not folder.messages for folder in folders)
    shown = [m for folder in folders for m in folder.messages.values()]
    assert {"\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$Label1", "Pending"} <= \
        set().union(*(m.flags for m in shown))
    uidls = {uidl for answer in answers.values() for uidl, _ in answer.pop3}
    assert {"UID7", "UID40", "1700000300.with+20space"} <= uidls
    assert site.without_uids(CEM, ["INBOX"]) and site.without_uids(DAN, ["INBOX"])
    assert any((site.store.maildir(DAN) / "new").iterdir())


@pytest.mark.parametrize("user", USERS)
def test_every_mailbox_and_uidl_is_the_same(site, user):
    """What Courier answers on a copy, Dovecot answers on the mount; then they agree."""
    courier = site.ask_courier_on_a_copy(user)
    invented = invented_by(courier, site, user)
    same(courier, site.ask_dovecot(user), "Dovecot after Courier on a copy", **invented)
    site.agree(user)


@pytest.mark.parametrize("user", USERS)
def test_pop3_first_then_imap(site, user):
    """The same, when a POP3 client is the first to come."""
    courier = site.ask_courier_on_a_copy(user)
    invented = invented_by(courier, site, user)
    with site.dovecot.pop3(user) as pop3:
        uidls = pop3.uidls()
    assert len(uidls) == len(courier.pop3)
    assert set(uidls) <= site.listed_uidls(user), "whatever UIDL a client saw is listed"
    answers = site.agree(user)
    assert [uidl for uidl, _ in answers.pop3] == uidls
    same(courier, answers, "Dovecot after Courier on a copy", **invented)


def test_examine_tells_what_select_tells(site):
    """Reading only shows the same UIDs, and they stay."""
    names = site.ask_courier_on_a_copy(ANN).folders
    with site.dovecot.imap(ANN) as imap:
        examined = {name: ask_folder(imap, name, read_only=True) for name in names}
        selected = {name: ask_folder(imap, name) for name in names}
    for name in names:
        nothing_in(different_folder(name, examined[name], selected[name]), "SELECT")
    assert examined == site.agree(ANN).folders


def test_status_tells_what_select_tells(site):
    """STATUS before any SELECT gives the numbers that SELECT confirms."""
    with site.dovecot.imap(ANN) as imap:
        for name in imap.folders():
            status = imap.status(name)
            folder = ask_folder(imap, name)
            assert status["MESSAGES"] == len(folder.messages), name
            assert status["UIDVALIDITY"] == folder.uidvalidity, name
            assert status["UIDNEXT"] == folder.next_uid, name
    site.agree(ANN)


@pytest.mark.parametrize("forget", [False, True], ids=["kept", "deleted"])
@pytest.mark.parametrize("user", [ANN, BOB, CEM, DAN])
def test_remount_changes_nothing(site, user, forget):
    """Unmounted, with or without the state directory deleted, and Dovecot's index too."""
    before = site.ask_dovecot(user)
    site.mount.remount(forget)
    same(before, site.ask_dovecot(user), "remounted")
    site.dovecot.forget_index()
    site.mount.remount(forget)
    same(before, site.ask_dovecot(user), "remounted, and Dovecot's index deleted")
    site.agree(user)


def test_a_killed_daemon_loses_nothing(site):
    """kill -9 after an answer: Courier carries on with everything, and so does the mount."""
    with site.dovecot.imap(ANN) as imap:
        imap.append("INBOX", b"Subject: kept\n\nkept\n", "\\Flagged Kept")
    before = site.ask_dovecot(ANN)
    site.mount.kill()
    same(before, site.ask_courier(ANN), "Courier after kill -9")
    site.mount.start()
    same(before, site.ask_dovecot(ANN), "mounted again after kill -9")


def test_asking_moves_no_message(site):
    """Asking changes nothing that a Courier client could see on its next visit."""
    names = messages(site.store.maildir(ANN))
    site.ask_dovecot(ANN)
    assert messages(site.store.maildir(ANN)) == names
