"""A mail site in the small: a store, Courier on it, courierfs over it, Dovecot above."""

import os

from servers.answers import Answers, ask_imap, ask_pop3, nothing_in, same, without_keywords
from servers.courier_files import SizeList, UidDatabase, base_name
from servers.dovecot import Dovecot
from servers.lab import MAIL_GID, MAIL_UID
from servers.mount import Mount

MAILBOX_PARTS = {"cur", "new", "tmp"}
CONTROL_FILES = ("dovecot-uidlist", "dovecot-keywords", "subscriptions", "dovecot-acl")
# Of the folders that others may see: an ordinary file, which Courier takes no notice of.
DOVECOTS_LIST = "dovecot-acl-list"


class Site:
    """A store served by both servers. A context manager: mounted inside the block.

    With the option `control` Dovecot reads mail in the store, where its keywords are letters in names
    and Courier's are not seen: keywords are no part of any answer then.
    """

    def __init__(self, lab, courier, store, options=(), examples=()):
        self.lab = lab
        self.courier = courier
        self.store = store
        self.mount = Mount(lab, store.path, options)
        self.dovecot = Dovecot(lab, self.mount.point, examples,
                               store=store.path if self.mount.is_control else None)
        self.expected_complaints = []

    def __enter__(self):
        self.mount.start()
        return self

    def __exit__(self, kind, *_):
        self.mount.stop()
        if kind is None:
            self.check()

    def seen(self, user, folder="INBOX"):
        """A mailbox's directory as the mount shows it."""
        return self.mount.point / self.store.folder(user, folder).relative_to(self.store.path)

    def ask_dovecot(self, user, **settings):
        """Answers of Dovecot through the mount."""
        with self.dovecot.imap(user, **settings) as imap:
            folders, subscriptions = ask_imap(imap)
        with self.dovecot.pop3(user, **settings) as pop3:
            return self.comparable(Answers(folders, subscriptions, ask_pop3(pop3)))

    def comparable(self, answers):
        """What of anybody's answers can be compared with Dovecot's."""
        return without_keywords(answers) if self.mount.is_control else answers

    def ask_courier(self, user):
        """Answers of Courier, which really uses the store."""
        return self.comparable(ask_courier(self.courier, self.store, user))

    def ask_courier_on_a_copy(self, user):
        """Answers of Courier that leave the store as it is."""
        copy = self.store.copy(self.lab)
        try:
            return self.comparable(ask_courier(self.courier, copy, user))
        finally:
            copy.discard()

    def agree(self, user, **settings):
        """Asserts that Dovecot, then Courier, then Dovecot answer alike; the answers."""
        first = self.ask_dovecot(user, **settings)
        same(first, self.ask_courier(user), "Courier after Dovecot")
        same(first, self.ask_dovecot(user, **settings), "Dovecot after Courier")
        return first

    def without_uids(self, user, folders):
        """Those of the mailboxes that no server has given a UIDVALIDITY yet."""
        return {name for name in folders
                if UidDatabase.read(self.store.folder(user, name)) is None}

    def listed_uidls(self, user):
        """The UIDLs in Courier's list, of messages that still exist or not."""
        return set(SizeList.read(self.store.maildir(user)).uidls.values())

    def check(self):
        """Asserts that nobody complained and that the store is as Courier leaves one."""
        nothing_in([line for line in self.dovecot.complaints()
                    if not any(words in line for words in self.expected_complaints)],
                   "Dovecot complained")
        nothing_in(self.mount.unexpected_errors(), "the daemon complained")
        nothing_in(strange_things(self.store, self.mount.is_control),
                   "the store is not as Courier leaves one")


def ask_courier(courier, store, user):
    """Everything that Courier answers for a user of a store."""
    maildir = store.maildir(user)
    with courier.imap(maildir) as imap:
        folders, subscriptions = ask_imap(imap)
    with courier.pop3(maildir) as pop3:
        return Answers(folders, subscriptions, ask_pop3(pop3))


def strange_things(store, may_have_letters=False):
    """What in a store is not as Courier leaves it, as a list of descriptions."""
    found = []
    for directory, names, files in os.walk(store.path):
        for name in names + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            if (status.st_uid, status.st_gid) != (MAIL_UID, MAIL_GID):
                found.append(f"{path} belongs to {status.st_uid}:{status.st_gid}")
            found += _strange_name(directory, name, may_have_letters)
    return found


def _strange_name(directory, name, may_have_letters):
    path = os.path.join(directory, name)
    place = os.path.basename(directory)
    if name.startswith(CONTROL_FILES) and name != DOVECOTS_LIST:
        return [f"{path}: a control file of Dovecot's"]
    if name == "courier.lock":
        return [f"{path}: a lock that nobody released"]
    # Courier does not list what a Dovecot that was killed in a DELETE leaves: ..DOVECOT-TRASHED.
    if place == "Maildir" and name.startswith(".") and not name.startswith(".."):
        if not (os.path.isdir(path) and MAILBOX_PARTS <= set(os.listdir(path))):
            return [f"{path}: Courier lists it as a folder"]
    if place in ("cur", "new") and not may_have_letters:
        letters = name[len(base_name(name)):].rpartition(",")[2]
        if any(letter.islower() for letter in letters):
            return [f"{path}: a keyword letter in a file name"]
    return []
