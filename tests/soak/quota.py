"""maildirsize, which both servers keep: what it says against what is stored, after each operation.

It can only be judged when nobody else is about: neither server updates it in the same step as the
message, and they count differently while a message is \\Deleted (Courier takes it off then, Dovecot
at its EXPUNGE; a message that one marks and the other expunges is taken off twice). Both make the
file anew from what is stored when it is missing or has grown; so it is made anew here, by each
server, and then each kind of operation must keep it right.
"""

import contextlib
import os
import re
import time

from soak.history import Quota

LIMIT = 100 << 20
COURIER = {"MAILDIRQUOTA": f"{LIMIT}S"}
DOVECOT = {"mail_plugins": "quota", "plugin/quota": "maildir:User quota",
           "plugin/quota_rule": f"*:storage={LIMIT}B"}
FILE = "maildirsize"


def note_delivery(maildir, size):
    """Counts a message as Exim does (maildir_use_size_file), if there is a file."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(maildir / FILE, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, f"{size} 1\n".encode())
        finally:
            os.close(fd)


def counted(maildir):
    """(bytes, messages) by maildirsize; None if there is no such file, or no sound one."""
    try:
        _, *lines = (maildir / FILE).read_text(encoding="ascii").splitlines()
        pairs = [tuple(map(int, line.split())) for line in lines]
        return (sum(size for size, _ in pairs), sum(count for _, count in pairs))
    except (OSError, ValueError, UnicodeDecodeError):
        return None


def stored(maildir):
    """(bytes, messages) that lie in the maildir and its folders, without what is \\Deleted."""
    size = count = 0
    # What a Dovecot that was killed in a DELETE leaves (..DOVECOT-TRASHED) is no folder.
    for folder in (maildir, *maildir.glob(".[!.]*/")):
        for part in ("cur", "new"):
            for message in (folder / part).iterdir():
                if "T" not in message.name.partition(":2,")[2]:
                    told = re.search(r",S=(\d+)", message.name)
                    size += int(told.group(1)) if told else message.stat().st_size
                    count += 1
    return size, count


class QuotaCheck:
    """The last thing that a soak does."""

    def __init__(self, page, soak):
        self._page = page
        self._soak = soak
        self._maildir = soak.maildir

    def run(self):
        """Each server makes the file; then everything is done by everyone."""
        servers = [None, *self._soak.nodes]
        with self._session(None) as session:
            for mailbox in self._soak.mailboxes():
                session.select(mailbox)
                session.client.command("EXPUNGE")
        for maker in servers:
            (self._maildir / FILE).unlink(missing_ok=True)
            self._append(maker, "makes it by APPEND")
            for server in servers:
                self._append(server, "APPEND")
                self._flag(server)
                self._copy_and_move(server)
                self._expunge(server)
                self._dele(server)
            for deliver in self._soak.deliveries(self._page):
                self._step(None, "delivery", deliver)

    @contextlib.contextmanager
    def _session(self, server):
        session = self._soak.imap(self._page, server)
        try:
            yield session
        finally:
            session.close(politely=True)

    def _step(self, server, what, do):
        start = time.monotonic()
        do()
        by = self._soak.name_of("imap", server)
        self._page.record(Quota(start, time.monotonic(), by, what, counted(self._maildir),
                                stored(self._maildir)))

    def _append(self, server, what):
        letter = self._page.new_letter(self._page.rng, "INBOX")
        with self._session(server) as session:
            self._step(server, what, lambda: session.append("INBOX", letter, ["\\Seen"]))

    def _flag(self, server):
        with self._session(server) as session:
            session.select("INBOX")
            uid = max(session.messages)
            self._step(server, "STORE", lambda: session.change(uid, add=["\\Flagged"]))

    def _copy_and_move(self, server):
        with self._session(server) as session:
            session.select("INBOX")
            newest = sorted(session.messages)[-2:]
            self._step(server, "COPY", lambda: session.copy(newest[:1], "INBOX.Work"))
            if server is not None:
                self._step(server, "MOVE", lambda: session.copy(newest[1:], "INBOX.Work", True))

    def _expunge(self, server):
        with self._session(server) as session:
            session.select("INBOX.Work")
            newest = max(session.messages)
            self._step(server, "EXPUNGE", lambda: session.expunge([newest]))

    def _dele(self, server):
        session = self._soak.pop3(self._page, server)
        session.look()
        self._step(server, "DELE", lambda: session.leave([0], politely=True))
