"""The final conversion: Dovecot's files become real, and no client notices."""

import pytest

from servers.answers import nothing_in, same
from servers.conversion import Ctl
from servers.dovecot import Dovecot
from servers.store import ANN, BOB, CEM, DAN, EVE, FAY, GUS, USERS, letter


@pytest.fixture(name="ctl")
def make_ctl(lab, store):
    """courierctl for the store."""
    return Ctl(lab, store)


def all_answers(ask):
    return {user: ask(user) for user in USERS}


def test_same_answers_before_during_and_after(lab, site, ctl):
    """Through the mount before, through the mount afterwards, and natively without it."""
    before = all_answers(site.ask_dovecot)
    with site.dovecot.imap(ANN) as open_session:
        open_session.select("INBOX")
        uids = open_session.uids()
        out, _ = ctl.run("convert")
        print(out)
        open_session.command("NOOP")
        assert open_session.uids() == uids
        open_session.append("INBOX", letter(9001), "\\Seen $Label1")
        open_session.command("NOOP")
        added = open_session.uids()[len(uids):]
        assert len(added) == 1
        open_session.command("UID STORE", added[0], "+FLAGS (\\Deleted)")
        open_session.command("EXPUNGE")
    for user, answers in before.items():
        same(answers, site.ask_dovecot(user), f"{user} through the mount")
    site.mount.stop()
    native = Dovecot(lab, site.store.path)
    for user, answers in before.items():
        with native.imap(user) as imap, native.pop3(user) as pop3:
            from servers.answers import Answers, ask_imap, ask_pop3
            folders, subscriptions = ask_imap(imap)
            same(answers, Answers(folders, subscriptions, ask_pop3(pop3)), f"{user} natively")
    nothing_in(native.complaints(), "native Dovecot complained")
    nothing_in(site.dovecot.complaints(), "Dovecot complained")
