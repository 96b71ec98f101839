"""Promise one, kept in a book: what a server ever told a client stays true."""


class Ledger:
    """Every (mailbox, UIDVALIDITY, UID) and every UIDL names one message for ever."""

    def __init__(self):
        self._uids = {}
        self._uidls = {}

    def note(self, user, answers):
        """Enters what a server answered; fails if it contradicts an earlier answer."""
        for name, folder in answers.folders.items():
            for uid, message in folder.messages.items():
                self._enter(self._uids, (user, name, folder.uidvalidity, uid), message.digest)
        for uidl, digest in answers.pop3:
            self._enter(self._uidls, (user, uidl), digest)
            self._enter(self._uidls, (user, digest), uidl)

    @staticmethod
    def _enter(book, key, value):
        former = book.setdefault(key, value)
        if former != value:
            raise AssertionError(f"{key} was {former} and is now {value}")
