"""What all workers of one soak share: the history, the tokens, and who is connected."""

import collections
import os
import random
import signal
import threading
from dataclasses import dataclass

from servers.answers import digest

ODD_BODIES = (
    "One line.\n\n.a dot first\n",
    "No line end at the end",
    "Größe: 8 bit ✓\n",
    "A long one.\n" * 150,
)


@dataclass(frozen=True)
class Letter:
    """A message to be stored, with the token that names it."""

    token: str
    data: bytes

    @property
    def digest(self):
        """Of the bytes as a client gets them."""
        return digest(self.data.replace(b"\n", b"\r\n"))


class Connected:
    """The sessions that have a process now, so that a fault can hit one of them."""

    def __init__(self):
        self._lock = threading.Lock()
        self._sessions = {}

    def enter(self, session):
        """The session's process may be killed from now on."""
        with self._lock:
            self._sessions[session.pid] = session

    def leave(self, session):
        """The session's process is about to be reaped: its pid means nothing any more."""
        with self._lock:
            self._sessions.pop(session.pid, None)

    def kill(self, rng=None, owner=None):
        """kill -9 of one, by chance or by what it writes into locks; who it was, or None."""
        with self._lock:
            if owner is None and self._sessions:
                session = self._sessions[rng.choice(sorted(self._sessions))]
            else:
                session = self._find(owner)
            if session is None:
                return None
            os.kill(session.pid, signal.SIGKILL)
            return session.by

    def who(self, owner):
        """Who writes this into locks, or None."""
        with self._lock:
            session = self._find(owner)
            return session and session.by

    def _find(self, owner):
        return next((s for s in self._sessions.values() if s.lock_text == owner), None)


class Book:
    """The shared part."""

    def __init__(self, seed):
        self.seed = seed
        self.history = []
        self.sessions = Connected()
        self.operations = collections.Counter()
        self.longest = {}
        self._lock = threading.Lock()
        self._claimed = set()
        self._digests = {}
        self._numbers = 0

    def record(self, record):
        """Adds to the history."""
        self.history.append(record)

    def next_session(self, name):
        """A session's unique name."""
        with self._lock:
            self._numbers += 1
            return f"{name}#{self._numbers}"

    def claim(self, token, mailbox):
        """Whether nobody ever put this token there; from now on somebody has."""
        if token is None:
            return False
        with self._lock:
            if (token, mailbox) in self._claimed:
                return False
            self._claimed.add((token, mailbox))
            return True

    def new_letter(self, rng, mailbox):
        """A message that nobody has seen, for this mailbox."""
        with self._lock:
            self._numbers += 1
            number = self._numbers
        token = f"s{self.seed}n{number}"
        text = (f"Date: Tue, 14 Nov 2023 22:13:{number % 60:02} +0000\n"
                f"From: Sender <sender{number}@example.org>\nTo: ann@example.org\n"
                f"Subject: letter {number}\nMessage-ID: <{token}@soak>\n"
                "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
                f"Content-Transfer-Encoding: 8bit\n\n{token}\n")
        letter = Letter(token, (text + rng.choice(ODD_BODIES)).encode())
        with self._lock:
            self._claimed.add((token, mailbox))
            self._digests[token] = letter.digest
        return letter

    def digest_of(self, token):
        """The digest of a letter that was made."""
        return self._digests.get(token)

    def took(self, program, what, seconds):
        """Counts an operation."""
        with self._lock:
            self.operations[program, what] += 1
            if seconds > self.longest.get((program, what), 0):
                self.longest[program, what] = seconds


class Page:
    """One worker's view of the book, with its own seeded chance."""

    def __init__(self, book, name):
        self._book = book
        self.rng = random.Random(f"{book.seed}/{name}")

    def __getattr__(self, name):
        return getattr(self._book, name)

    def chance(self, probability):
        """Whether something of this probability happens now."""
        return self.rng.random() < probability
