"""What a mail client does: each function does one thing on one side, the part of it that counts in
Visit.timed.

They are run in the order of OPERATIONS, in each round on each side in turn, on the account FOLDER_USER:
an INBOX of some size, an empty mailbox `Copies`, one large message in `Large`.
"""

import time
from dataclasses import dataclass
from typing import Callable

from bench.sides import drop_kernel_caches, settled
from bench.stores import letter, user_name

FOLDER_USER = user_name(0)
MANY = 1000


@dataclass
class Visit:
    """One side in one round."""

    side: object
    messages: int
    round: int
    user: str = FOLDER_USER
    seconds: float = None
    counts: dict = None

    def timed(self, work):
        """Does it; what it took, and what it made the side do."""
        before = settled(self.side)
        start = time.monotonic()
        work()
        self.seconds = time.monotonic() - start
        after = settled(self.side)
        self.counts = {what: after[what] - before[what] for what in after
                       if after[what] != before[what]}

    @property
    def many(self):
        """Of how many messages something is done."""
        return min(MANY, self.messages)

    def selected(self, mailbox="INBOX"):
        """A session with this mailbox selected."""
        wire = self.side.imap(self.user)
        wire.imap(f'SELECT "{mailbox}"')
        return wire


def _in_session(visit, command, mailbox="INBOX"):
    wire = visit.selected(mailbox)
    try:
        visit.timed(lambda: wire.imap(command))
    finally:
        wire.close()


def _select(visit):
    wire = visit.side.imap(visit.user)
    try:
        visit.timed(lambda: wire.imap('SELECT "INBOX"'))
    finally:
        wire.close()


def cold_select(visit):
    """SELECT without an index, and nothing in the kernel's caches of names."""
    visit.side.forget_index()
    drop_kernel_caches()
    _select(visit)


def warm_select(visit):
    """SELECT of what was selected a moment ago; the sides that had their turn since emptied the caches."""
    visit.selected().close()
    _select(visit)


def fetch_flags(visit):
    """FETCH 1:* FLAGS."""
    _in_session(visit, "FETCH 1:* FLAGS")


def fetch_sizes(visit):
    """FETCH 1:* RFC822.SIZE for the second time."""
    wire = visit.selected()
    wire.imap("FETCH 1:* RFC822.SIZE")
    wire.close()
    _in_session(visit, "FETCH 1:* RFC822.SIZE")


def first_body(visit):
    """The first body of a session."""
    _in_session(visit, f"FETCH {visit.messages // 2} BODY.PEEK[]")


def bodies_first(visit):
    """Many bodies, nothing in the kernel's caches."""
    drop_kernel_caches(pages=True)
    _in_session(visit, f"FETCH 1:{visit.many} BODY.PEEK[]")


def bodies_again(visit):
    """The same once more."""
    _in_session(visit, f"FETCH 1:{visit.many} BODY.PEEK[]")
    _in_session(visit, f"FETCH 1:{visit.many} BODY.PEEK[]")


def store_flags(visit):
    """Other flags for many messages."""
    flag = ("\\Flagged", "\\Answered")[visit.round % 2]
    _in_session(visit, f"STORE 1:{visit.many} FLAGS.SILENT ({flag})")


def new_keyword(visit):
    """A keyword that the mailbox has not had."""
    _in_session(visit, f"STORE 1 +FLAGS.SILENT (word{visit.round})")


def new_mail(visit):
    """NOOP after one new message."""
    wire = visit.selected()
    try:
        name = f"{int(time.time())}.M{time.time_ns() % 10**9}P1.mx"
        visit.side.deliver(visit.user, name, letter(0, 2000))
        visit.timed(lambda: wire.imap("NOOP"))
        if b" EXISTS" not in wire.received:
            raise RuntimeError(f"{visit.side.name}: the new message was not seen")
    finally:
        wire.close()


def _append_after(visit, earlier):
    wire = visit.selected()
    literal = letter(0, 2000).replace(b"\n", b"\r\n")
    try:
        for _ in range(earlier):
            wire.imap('APPEND "INBOX"', literal)
        visit.timed(lambda: wire.imap('APPEND "INBOX"', literal))
    finally:
        wire.close()


def append(visit):
    """The first APPEND of a session."""
    _append_after(visit, 0)


def append_again(visit):
    """The second one."""
    _append_after(visit, 1)


def copy(visit):
    """COPY of many messages to an empty mailbox."""
    _in_session(visit, f'COPY 1:{visit.many} "INBOX.Copies"')


def expunge(visit):
    """EXPUNGE of these."""
    wire = visit.selected("INBOX.Copies")
    try:
        wire.imap("STORE 1:* +FLAGS.SILENT (\\Deleted)")
        visit.timed(lambda: wire.imap("EXPUNGE"))
    finally:
        wire.close()


def pop3_session(side, user):
    """Log in, UIDL, LIST, QUIT."""
    wire = side.pop3(user)
    try:
        wire.pop3("UIDL", lines=True)
        wire.pop3("LIST", lines=True)
        wire.pop3("QUIT")
    finally:
        wire.close()


def pop3_first(visit):
    """POP3 without an index."""
    visit.side.forget_index()
    visit.timed(lambda: pop3_session(visit.side, visit.user))


def pop3_again(visit):
    """POP3 once more."""
    visit.timed(lambda: pop3_session(visit.side, visit.user))


def large_first(visit):
    """A message of 25 MB, nothing in the kernel's caches."""
    drop_kernel_caches(pages=True)
    _in_session(visit, "FETCH 1 BODY.PEEK[]", mailbox="INBOX.Large")


def large_again(visit):
    """The same once more."""
    _in_session(visit, "FETCH 1 BODY.PEEK[]", mailbox="INBOX.Large")
    _in_session(visit, "FETCH 1 BODY.PEEK[]", mailbox="INBOX.Large")


@dataclass(frozen=True)
class Operation:
    """An operation, and its name in the table."""

    name: str
    run: Callable


OPERATIONS = (
    Operation("cold SELECT", cold_select),
    Operation("warm SELECT", warm_select),
    Operation("FETCH flags of all", fetch_flags),
    Operation("FETCH sizes of all", fetch_sizes),
    Operation("first body of a session", first_body),
    Operation("1000 bodies, first", bodies_first),
    Operation("1000 bodies, again", bodies_again),
    Operation("STORE x1000", store_flags),
    Operation("new keyword", new_keyword),
    Operation("NOOP after one new mail", new_mail),
    Operation("APPEND", append),
    Operation("APPEND, again", append_again),
    Operation("COPY x1000", copy),
    Operation("EXPUNGE x1000", expunge),
    Operation("POP3, first ever", pop3_first),
    Operation("POP3, again", pop3_again),
    Operation("25 MB message, first", large_first),
    Operation("25 MB message, again", large_again),
)
