"""The final conversion and the way back: no client notices anything."""

import pytest

from servers.answers import Answers, ask_imap, ask_pop3, nothing_in, same
from servers.conversion import Ctl
from servers.dovecot import Dovecot
from servers.imap import encode_folder
from servers.mount import Mount
from servers.site import ask_courier, strange_things
from servers.store import ANN, BOB, CEM, DAN, GUS, USERS, letter


@pytest.fixture(name="ctl")
def make_ctl(lab, store):
    """courierctl for the store."""
    return Ctl(lab, store)


@pytest.fixture(name="mounted")
def make_mounted(lab, store):
    """The store, mounted, and Dovecot over it; both must have nothing to complain of."""
    with Mount(lab, store.path) as mount:
        dovecot = Dovecot(lab, mount.point)
        yield mount, dovecot
    nothing_in(dovecot.complaints(), "Dovecot on the mount complained")
    nothing_in(mount.unexpected_errors(), "the daemon complained")


@pytest.fixture(name="native")
def make_native(lab, store):
    """Dovecot on the store, without us."""
    dovecot = Dovecot(lab, store.path)
    yield dovecot
    nothing_in(dovecot.complaints(), "native Dovecot complained")


def ask(dovecot, user):
    """Answers of a Dovecot."""
    with dovecot.imap(user) as imap:
        folders, subscriptions = ask_imap(imap)
    with dovecot.pop3(user) as pop3:
        return Answers(folders, subscriptions, ask_pop3(pop3))


def ask_all(dovecot):
    """{user: Answers}."""
    return {user: ask(dovecot, user) for user in USERS}


def all_same(before, after, what):
    """Asserts it for every user."""
    for user, answers in before.items():
        same(answers, after[user], f"{user} {what}")


def work(dovecot, first):
    """What users do in some weeks."""
    for number, user in enumerate(USERS, start=first):
        dovecot.deliver(user, letter(number))
    with dovecot.imap(ANN) as imap:
        imap.append("INBOX.Sent", letter(first + 20), "\\Seen NewKeyword")
        imap.select("INBOX")
        imap.command("STORE 1 +FLAGS ($Label1)")
        imap.command("STORE 2 -FLAGS (Junk)")
        imap.command("STORE 3 +FLAGS (\\Deleted)")
        imap.command("EXPUNGE")
        imap.command("CREATE", encode_folder("INBOX.Später"))
        imap.append("INBOX.Später", letter(first + 21), "Foo \\Flagged")
        imap.command("CREATE", "INBOX.Unopened")
        imap.command("SUBSCRIBE", encode_folder("INBOX.Später"))
        imap.command("UNSUBSCRIBE INBOX.Sent")
        imap.command("RENAME", encode_folder("INBOX.Entwürfe"), encode_folder("INBOX.Concepts"))
        imap.command("DELETE INBOX.Trash")
    with dovecot.imap(GUS) as imap:
        imap.select("INBOX.A.B.C")
        imap.command("COPY 1:2 INBOX")


def test_to_dovecot_and_back(courier, ctl, mounted, native):
    """Courier, the mount, converted below the mount, native, and Courier again."""
    mount, dovecot = mounted
    before = ask_all(dovecot)
    with dovecot.imap(ANN) as connected, dovecot.imap(BOB) as idle:
        connected.select("INBOX")
        idle.select("INBOX.Work")
        uids = connected.uids()
        ctl.run("convert")
        connected.command("NOOP")
        idle.command("NOOP")
        assert connected.uids() == uids
        connected.append("INBOX", letter(9001), "\\Seen $Label1")
        connected.command("NOOP")
        added = connected.uids()[len(uids):]
        assert len(added) == 1
        connected.command("UID STORE", added[0], "+FLAGS (\\Deleted)")
        connected.command("EXPUNGE")
    all_same(before, ask_all(dovecot), "converted, through the mount")
    out, _ = ctl.run("convert")
    assert "0 mailboxes with 0 messages converted, 30 were so already, 0 failed" in out
    work(dovecot, 2000)
    worked = ask_all(dovecot)
    mount.stop()
    all_same(worked, ask_all(native), "natively")
    work_natively = ask_all(native)
    ctl.run("revert")
    nothing_in([line for line in strange_things(ctl.store) if "courierfs-aside" not in line],
               "the store is not as Courier leaves one")
    after = {user: ask_courier(courier, ctl.store, user) for user in USERS}
    # What came while Dovecot was alone has for Courier's POP3 the place that its name gives it.
    for answers in (*work_natively.values(), *after.values()):
        answers.pop3.sort()
    all_same(work_natively, after, "Courier after revert")
