"""Promise one, kept in a book: what a server ever told a client stays true."""


class Ledger:
    """Every (mailbox, UIDVALIDITY, UID) and every UIDL names one message for ever."""

    def __init__(self):
        self._uids = {}
        self._uidls = {}  # {(user, digest): UIDLs}; a message may have been saved twice

    def note(self, user, answers):
        """Enters what a server answered; fails if it contradicts an earlier answer."""
        for name, folder in answers.folders.items():
            for uid, message in folder.messages.items():
                self._enter(self._uids, (user, name, folder.uidvalidity, uid), message.digest)
        shown = {}
        for uidl, digest in answers.pop3:
            self._enter(self._uids, (user, uidl), digest)
            shown.setdefault(digest, set()).add(uidl)
        for digest, uidls in shown.items():
            former = self._uidls.setdefault((user, digest), set())
            if former - uidls and uidls - former:  # one went, and another came
                raise AssertionError(f"{user}: {digest} was {former} and is now {uidls}")
            former |= uidls

    @staticmethod
    def _enter(book, key, value):
        former = book.setdefault(key, value)
        if former != value:
            raise AssertionError(f"{key} was {former} and is now {value}")
