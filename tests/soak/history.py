"""A history: everything that clients did and were told, and what the store's own files did.

Each record covers the time from `start` to `end` on one monotonic clock that all share.
What a client asked for happened somewhere in between; what it was shown was true at some
moment in between. `by` says who: server, protocol, node and session, such as
`dovecot-imap@mount2#17` or `courier-pop3@store#4`.

Messages are named by tokens. The driver puts one token into one mailbox at most once, so
(mailbox, token) is one message: a copy elsewhere is another one.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import NamedTuple


class Sighting(NamedTuple):
    """One message as IMAP showed it; None is what was not asked for, or not to be had."""

    uid: int
    token: str = None
    flags: list = None
    digest: str = None


class PopSighting(NamedTuple):
    """One message as POP3 showed it."""

    uidl: str
    token: str = None
    digest: str = None


@dataclass
class Record:
    """What all records have."""

    start: float
    end: float
    by: str

    @property
    def program(self):
        """Server and protocol: `courier-imap`."""
        return self.by.partition("@")[0]

    @property
    def node(self):
        """Where a session was: the store itself, or a mount."""
        return self.by.partition("@")[2].partition("#")[0]

    @property
    def is_courier(self):
        """Whether Courier itself answered, or did it."""
        return self.by.startswith(("courier-", "imapd:", "courierpop3d:"))


@dataclass
class Listing(Record):
    """A mailbox as an IMAP session sees it after a look (SELECT, EXAMINE or NOOP) at `start`."""

    mailbox: str
    uidvalidity: int
    command: str
    messages: list
    complete: bool = True  # False: only some messages are here, or an answer was cut short
    read_only: bool = False  # the session was opened by EXAMINE
    quiet: bool = False  # nobody else does anything

    def __post_init__(self):
        self.messages = [Sighting(*message) for message in self.messages]


@dataclass
class PopListing(Record):
    """INBOX as a POP3 session sees it, in its order; `start` is the login's."""

    mailbox: str
    messages: list
    quiet: bool = False
    complete: bool = True  # False: only some messages are here

    def __post_init__(self):
        self.messages = [PopSighting(*message) for message in self.messages]


@dataclass
class Status(Record):
    """What STATUS said of a mailbox."""

    mailbox: str
    uidvalidity: int


@dataclass
class Put(Record):
    """A message came into a mailbox: deliver, lda, append, copy, move or rename (of folders).

    flags None: they are another message's, not known here. uid: if the server told it.
    """

    how: str
    mailbox: str
    token: str
    digest: str
    flags: list
    acknowledged: bool
    uidvalidity: int = None
    uid: int = None


@dataclass
class Change(Record):
    """Flags and keywords were set or taken from one message.

    believed: its flags as the session knew them before, if it looked.
    """

    mailbox: str
    token: str
    add: list
    remove: list
    acknowledged: bool
    believed: list = None


@dataclass
class Removal(Record):
    """Messages were to be removed; those in `acknowledged` are gone for the one who asked."""

    how: str
    mailbox: str
    tokens: list
    acknowledged: list


@dataclass
class FolderChange(Record):
    """create, delete, rename (then `new_name` is set), subscribe or unsubscribe."""

    how: str
    mailbox: str
    acknowledged: bool
    new_name: str = None


@dataclass
class FolderListing(Record):
    """What LIST and LSUB said."""

    names: list
    subscribed: list
    quiet: bool = False


@dataclass
class DatabaseVersion(Record):
    """A new version of a uid database; `by` is program, pid and host, such as imapd:4711@vm.

    added: [uid, base name, token]; removed: [uid, base name, token, whether a file of that name
    was seen after it].
    """

    mailbox: str
    uidvalidity: int
    next_uid: int
    added: list = field(default_factory=list)
    removed: list = field(default_factory=list)


@dataclass
class SizeListVersion(Record):
    """A new version of Courier's POP3 list; as for the uid database, with UIDLs."""

    mailbox: str
    added: list = field(default_factory=list)
    removed: list = field(default_factory=list)


@dataclass
class FileStep(Record):
    """What a program, by name, pid and host, did in the store.

    rename: of a message, `part` is where it was before (cur or new), `words` are the flags in its
    new name, `former` in its old one (of Dovecot: with letters for keywords); unlink: likewise;
    keywords: it wrote a message's whole set, which are `words`; lock, unlock: it took Courier's
    lock of the mailbox, or let it go; failure: Dovecot could not write its list of the mailbox
    (`base` is the list's name).
    """

    what: str
    mailbox: str
    base: str = ""
    part: str = ""
    words: list = field(default_factory=list)
    former: list = field(default_factory=list)


@dataclass
class Letters(Record):
    """Which keyword a letter stands for in a mailbox; letters never change."""

    mailbox: str
    names: dict


@dataclass
class Login(Record):
    """A session began; its program has this pid."""

    pid: str  # and host, as in steps: 4711@vm


@dataclass
class Quota(Record):
    """maildirsize after something was done and nobody else was about: what it says, and what is
    stored, each as [bytes, messages]; `counted` is None if it says nothing."""

    what: str
    counted: list
    stored: list

    def __post_init__(self):
        self.counted = self.counted and list(self.counted)
        self.stored = list(self.stored)


@dataclass
class Refusal(Record):
    """A server said no, or nothing at all (`what` is then `stuck`), or ended the session."""

    what: str
    text: str


@dataclass
class Fault(Record):
    """Something was killed: `what` is a program, or courierfs, which is up again at `end`."""

    what: str
    holding_lock: bool = False


@dataclass
class Oddity(Record):
    """Something in the store, or in a log, that must not be there when all is done."""

    text: str


KINDS = {kind.__name__: kind for kind in (
    Listing, PopListing, Status, Put, Change, Removal, FolderChange, FolderListing,
    DatabaseVersion, SizeListVersion, FileStep, Letters, Login, Quota, Refusal, Fault, Oddity)}


def to_line(record):
    """One record as a line of JSON."""
    return json.dumps({"kind": type(record).__name__} | dataclasses.asdict(record),
                      separators=(",", ":"))


def from_line(line):
    """The record of a line."""
    values = json.loads(line)
    return KINDS[values.pop("kind")](**values)


def write(path, history):
    """Writes a history as JSON lines."""
    with open(path, "w", encoding="utf-8") as out:
        for record in history:
            out.write(to_line(record) + "\n")


def read(path):
    """Reads a history."""
    with open(path, encoding="utf-8") as lines:
        return [from_line(line) for line in lines]
