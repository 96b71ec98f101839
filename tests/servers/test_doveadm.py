"""doveadm above the mount: everything arrives in Dovecot's own formats, and only once."""

import os

import pytest

from servers.answers import Answers, ask_imap, ask_pop3, same
from servers.courier_files import messages
from servers.store import ANN, BOB, CEM, EVE, FAY, GUS, letter

HAL = "hal@example.org"  # has no mail yet

FORMATS = ("mdbox", "sdbox")


class Destination:
    """Mail of one user in another format, on plain disk."""

    def __init__(self, site, user, kind):
        self._site = site
        self._user = user
        self._path = site.dovecot.home / f"{user}.{kind}"
        self.location = f"{kind}:{self._path}"

    def fill(self, command=("backup",), source=None):
        """doveadm backup (or sync -1) from the mount to here."""
        self._site.dovecot.doveadm(self._user, *command, self.location,
                                   **({"mail_location": source} if source else {}))

    def ask(self):
        """What a Dovecot without any mount answers from here."""
        settings = {"mail_location": self.location}
        with self._site.dovecot.imap(self._user, **settings) as imap:
            folders, subscriptions = ask_imap(imap)
        with self._site.dovecot.pop3(self._user, **settings) as pop3:
            return Answers(folders, subscriptions, ask_pop3(pop3))

    def stored(self):
        """{file: (size, time)} of the messages, to see whether any was transferred again."""
        found = {}
        for directory, _, files in os.walk(self._path):
            for name in files:
                if name.startswith(("m.", "u.")):
                    path = os.path.join(directory, name)
                    status = os.stat(path)
                    found[path] = (status.st_size, status.st_mtime_ns)
        return found


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("user", [ANN, CEM, EVE, FAY, GUS])
def test_backup(site, user, kind):
    """UIDs, flags, keywords, dates, UIDLs and their order, subscriptions; once only."""
    destination = Destination(site, user, kind)
    destination.fill()
    stored = destination.stored()
    before = site.agree(user)
    same(before, destination.ask(), kind)
    assert len(stored) >= 1
    destination.fill()
    assert destination.stored() == stored, "the second run transfers nothing"
    same(before, destination.ask(), f"{kind}, second run")
    site.agree(user)


@pytest.mark.parametrize("command", [("backup",), ("sync", "-1")], ids=["backup", "sync"])
def test_what_changed_since_follows(site, command):
    """New mail, flags, keywords and deletions follow; messages that stayed are not sent."""
    destination = Destination(site, ANN, "sdbox")
    destination.fill(command)
    stored = destination.stored()
    with site.courier.imap(site.store.maildir(ANN)) as imap:
        imap.append("INBOX", letter(1), "\\Flagged Couriers")
        imap.select("INBOX")
        imap.command("STORE 2 +FLAGS (\\Answered Changed)")
        if command == ("backup",):
            imap.command("STORE 1 +FLAGS (\\Deleted)")
            imap.command("EXPUNGE")
    with site.dovecot.imap(ANN) as imap:
        imap.append("INBOX.Sent", letter(2), "\\Seen Dovecots")
    destination.fill(command)
    same(site.agree(ANN), destination.ask(), "the second run")
    kept = {path: seen for path, seen in destination.stored().items() if path in stored}
    assert kept.items() <= stored.items()


def test_backup_after_the_state_directory_is_gone(site):
    """The identity of a mailbox is not state of ours: no message is sent twice."""
    destination = Destination(site, ANN, "sdbox")
    destination.fill()
    stored = destination.stored()
    site.mount.remount(forget=True)
    site.dovecot.forget_index()
    destination.fill()
    assert destination.stored() == stored
    same(site.agree(ANN), destination.ask(), "after the state directory was deleted")


def test_force_resync(site):
    """The last resort of administrators harms nothing here."""
    before = site.agree(ANN)
    site.dovecot.doveadm(ANN, "force-resync", "*")
    same(before, site.agree(ANN), "after force-resync")
    site.dovecot.forget_index()
    site.dovecot.doveadm(ANN, "force-resync", "*")
    same(before, site.agree(ANN), "after force-resync without an index")


def test_fetch_shows_stable_names(site):
    """A message's GUID is its base name, and its UIDL and order are Courier's."""
    rows = site.dovecot.doveadm(CEM, "-f", "tab", "fetch", "guid pop3.uidl pop3.order",
                                "mailbox", "INBOX", "ALL").splitlines()[1:]
    guids = {row.split("\t")[0] for row in rows}
    assert guids == messages(site.store.maildir(CEM))
    orders = [int(row.split("\t")[2]) for row in rows]
    assert len(set(orders)) == len(orders), "each message has a place in Courier's order"
    site.agree(CEM)


def test_expunge_and_import(site):
    """doveadm expunge, flags and save work on what Courier serves."""
    site.dovecot.doveadm(BOB, "flags", "add", "\\Flagged Word", "mailbox", "INBOX", "ALL")
    site.dovecot.doveadm(BOB, "expunge", "mailbox", "INBOX", "UID", "2")
    site.dovecot.doveadm(BOB, "copy", "INBOX.Work", "mailbox", "INBOX", "UID", "3")
    folders = site.agree(BOB).folders
    assert 2 not in folders["INBOX"].messages
    assert all({"\\Flagged", "Word"} <= m.flags for m in folders["INBOX"].messages.values())


def test_two_way_sync(site):
    """Into an account that has nothing yet, and back and forth: it converges, and Courier has it."""
    site.expected_complaints.append("You may want to run dsync again")
    site.courier.make_maildir(site.store.maildir(HAL))
    other = {"mail_location": f"mdbox:{site.dovecot.home}/other"}
    with site.dovecot.imap(HAL, **other) as imap:
        imap.command("CREATE INBOX.Away")
        for number in range(3):
            imap.append("INBOX", letter(700 + number), "\\Seen Imported")
            imap.append("INBOX.Away", letter(710 + number), "\\Answered")

    def ask_other():
        with site.dovecot.imap(HAL, **other) as imap:
            return ask_imap(imap)[0]

    def sync():
        site.dovecot.doveadm(HAL, "sync", other["mail_location"])

    def synced():
        # Where two mailboxes of one name have different GUIDs, dsync settles on one of them and then, about
        # every second time, asks for another run: between two stores without courierfs, too.
        try:
            sync()
        except RuntimeError as refusal:
            assert "run dsync again" in str(refusal)
            sync()
        here = site.agree(HAL).folders
        assert ask_other() == here
        return here, status(site, HAL), status(site, HAL, **other)

    first, guids, other_guids = synced()
    assert guids == other_guids, "a mailbox has one GUID on both sides"
    assert sum(len(folder.messages) for folder in first.values()) == 6
    assert synced() == (first, guids, guids), "nothing is left to do"
    with site.courier.imap(site.store.maildir(HAL)) as imap:
        imap.append("INBOX", letter(720), "\\Flagged")
    with site.dovecot.imap(HAL, **other) as imap:
        imap.select("INBOX.Away")
        imap.command("STORE 1 +FLAGS (\\Deleted)")
        imap.command("EXPUNGE")
    second, guids, _ = synced()
    assert len(second["INBOX"].messages) == 4 and len(second["INBOX.Away"].messages) == 2
    site.mount.remount(forget=True)
    site.dovecot.forget_index()
    assert synced() == (second, guids, guids), "the GUIDs are not state of ours"


def status(site, user, **settings):
    """{folder: (UIDVALIDITY, GUID)}, as doveadm tells."""
    rows = site.dovecot.doveadm(user, "-f", "tab", "mailbox", "status", "uidvalidity guid", "*",
                                **settings).splitlines()[1:]
    return dict(row.split("\t", 1) for row in rows)
