"""Sessions that write down what they ask for and what they are told."""

import contextlib
import re
import time

from servers.answers import digest
from servers.imap import Refused, encode_folder
from soak.history import (
    Change, FolderChange, FolderListing, Listing, Login, PopListing, PopSighting, Put, Refusal,
    Removal, Sighting, Status)
from soak.witness import TOKEN

# In a mailbox with more messages than this a look shows only some of them.
LARGE = 300
SAMPLE = 50

# How a session ends when its program is killed or the mount below it goes away.
ENDINGS = (EOFError, ConnectionError, BrokenPipeError)
# What a response looks like to the parser when its program died in the middle of it.
CUT_SHORT = (ValueError, IndexError, AttributeError, TypeError, KeyError)


class Ended(Exception):
    """The session is over."""


def token_in(data):
    """The token in a header or message, or None."""
    found = TOKEN.search(data.replace(b"\r\n", b"\n")) if data else None
    return found.group(1).decode() if found else None


def folder_names(reply):
    """Names of LIST or LSUB that are folders."""
    return sorted(name for name, attributes in reply.items()
                  if not attributes & {"\\NOSELECT", "\\NONEXISTENT"})


class Session:
    """One session of one server; `by` is who it is in the history."""

    def __init__(self, by, connect, book, place):
        self.by = by
        self.book = book
        self.pid = None  # as it can be killed
        self.lock_text = None  # what it writes into a lock
        self.program = by.partition("@")[0]
        self.started = time.monotonic()
        with self.tried("login"):
            self.client = connect()
            self.pid, own = place.pids(self.client.connection.pid)
            self.lock_text = f"{own}:{place.hostname}"
            book.sessions.enter(self)
        book.record(Login(self.started, time.monotonic(), by, f"{own}@{place.hostname}"))

    @contextlib.contextmanager
    def tried(self, what):
        """Turns every way in which a session ends into Ended, and writes it down."""
        start = time.monotonic()
        try:
            yield
        except Refused as refusal:
            self.refused(start, what, str(refusal))
            raise Ended(str(refusal)) from refusal
        except TimeoutError as timeout:
            self.refused(start, "stuck", f"no answer to {what} after "
                                         f"{time.monotonic() - start:.0f} s")
            raise Ended("stuck") from timeout
        except (*ENDINGS, *CUT_SHORT) as ending:
            self.refused(start, "ended", f"{what}: {type(ending).__name__}")
            raise Ended(str(ending)) from ending
        finally:
            self.book.took(self.program, what, time.monotonic() - start)

    def refused(self, start, what, text):
        """Writes down a refusal."""
        self.book.record(Refusal(start, time.monotonic(), self.by, what, text))

    def close(self, politely):
        """Ends the session and reaps its program."""
        client = getattr(self, "client", None)
        if client is None:
            return
        try:
            if politely:
                with contextlib.suppress(Refused, TimeoutError, *ENDINGS):
                    client.command("LOGOUT" if "imap" in self.program else "QUIT")
        finally:
            self.book.sessions.leave(self)
            client.close()


class ImapSession(Session):
    """IMAP. `messages` is {UID: Sighting} after the last look."""

    def __init__(self, by, connect, book, place):
        super().__init__(by, connect, book, place)
        self.mailbox = None
        self.read_only = False
        self.uidvalidity = None
        self.messages = {}
        self.count = 0  # how many messages the server says are there

    def ask(self, *words, **options):
        """One command; a BYE or a dead program ends the session."""
        what = str(words[0]).split()
        what = " ".join(what[:2]) if what[0] == "UID" else what[0]
        with self.tried(what):
            start = time.monotonic()
            reply = self.client.command(*words, expect=None, **options)
            if reply.named("BYE"):
                raise EOFError(reply.named("BYE")[0].text)
            for exists in reply.named("EXISTS"):
                self.count = exists.number
            if reply.status != "OK":
                self.refused(start, what, re.sub(r"\d+", "#", reply.text))
            return reply

    def select(self, mailbox, read_only=False, quiet=False, bodies=0.0):
        """SELECT or EXAMINE and everything that can be seen then."""
        command = "EXAMINE" if read_only else "SELECT"
        start = time.monotonic()
        self.mailbox = None
        reply = self.ask(command, encode_folder(mailbox))
        if reply.status != "OK":
            return False
        self.mailbox, self.read_only = mailbox, read_only
        self.uidvalidity = int(reply.code("UIDVALIDITY"))
        self._look(start, command, quiet, bodies)
        return True

    def noop(self, bodies=0.0):
        """NOOP and everything that can be seen then."""
        start = time.monotonic()
        if self.ask("NOOP").status == "OK":
            self._look(start, "NOOP", False, bodies)

    def _look(self, start, command, quiet=False, bodies=0.0):
        item = "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"
        sampled = self.count > LARGE and not quiet and not self.book.chance(0.01)
        whole = self.book.chance(bodies) and (sampled or self.count <= LARGE)
        items = f"(UID FLAGS {'BODY.PEEK[]' if whole else item})"
        reply = self.ask(f"FETCH {self._sample()} {items}" if sampled else f"UID FETCH 1:* {items}")
        found = {}
        for fetched in reply.fetched():
            if "UID" not in fetched:
                continue
            uid = int(fetched["UID"])
            sighting = found.get(uid, Sighting(uid))
            if "FLAGS" in fetched:
                flags = sorted({f.decode() for f in fetched["FLAGS"]} - {"\\Recent"})
                sighting = sighting._replace(flags=flags)
            for name, value in fetched.items():
                if name.startswith("BODY[") and value:
                    token = token_in(value)
                    sighting = sighting._replace(token=token)
                    if whole and token is not None:
                        sighting = sighting._replace(digest=digest(value))
            found[uid] = sighting
        self.messages = found
        self.count = self.count if sampled else len(found)
        self.book.record(Listing(start, time.monotonic(), self.by, self.mailbox,
                                 self.uidvalidity, command, list(found.values()),
                                 complete=reply.status == "OK" and not sampled,
                                 read_only=self.read_only, quiet=quiet))

    def _sample(self):
        """Message numbers: the last ones, and some others."""
        first = self.book.rng.randint(1, self.count - 2 * SAMPLE)
        return f"{first}:{first + SAMPLE},{self.count - SAMPLE}:*"

    def status(self, mailbox):
        """STATUS of a folder that is not selected."""
        start = time.monotonic()
        reply = self.ask("STATUS", encode_folder(mailbox), "(MESSAGES UIDNEXT UIDVALIDITY)")
        if reply.status == "OK" and reply.named("STATUS"):
            pairs = reply.named("STATUS")[0].values[1]
            numbers = {pairs[i].decode(): int(pairs[i + 1]) for i in range(0, len(pairs), 2)}
            self.book.record(Status(start, time.monotonic(), self.by, mailbox,
                                    numbers["UIDVALIDITY"]))

    def change(self, uid, add=(), remove=()):
        """STORE of one message; acknowledged only if the server shows the new flags."""
        start = time.monotonic()
        token, believed = self.messages[uid].token, self.messages[uid].flags
        done = False
        try:
            done = all([self._store(uid, sign, flags)
                        for sign, flags in (("+", add), ("-", remove)) if flags])
        finally:
            if token is not None:
                self.book.record(Change(start, time.monotonic(), self.by, self.mailbox, token,
                                        list(add), list(remove), done, believed))
        if done and believed is not None:
            flags = sorted((set(believed) | set(add)) - set(remove))
            self.messages[uid] = self.messages[uid]._replace(flags=flags)

    def _store(self, uid, sign, flags):
        reply = self.ask(f"UID STORE {uid} {sign}FLAGS ({' '.join(flags)})")
        for fetched in reply.fetched():
            if "FLAGS" in fetched and int(fetched.get("UID", uid)) == uid:
                shown = {f.decode().lower() for f in fetched["FLAGS"]}
                asked = {f.lower() for f in flags}
                if asked <= shown if sign == "+" else not asked & shown:
                    return reply.status == "OK"
        return False

    def expunge(self, uids):
        """Marks messages as deleted and expunges them."""
        chosen = {uid: self.messages[uid].token for uid in uids
                  if self.messages[uid].token is not None}
        if not chosen:
            return
        start = time.monotonic()
        # Whatever anybody marked goes, too.
        marked = {s.token for s in self.messages.values()
                  if s.flags and "\\Deleted" in s.flags and s.token is not None}
        gone = []
        try:
            for uid in chosen:
                self.change(uid, add=["\\Deleted"])
            reply = self.ask("EXPUNGE")
            found = self.ask("UID SEARCH ALL").named("SEARCH") if reply.status == "OK" else []
            if found:
                left = {int(uid) for uid in found[0].values}
                gone = [token for uid, token in chosen.items() if uid not in left]
                self.messages = {u: s for u, s in self.messages.items() if u in left}
                self.count = len(left)
        finally:
            self.book.record(Removal(start, time.monotonic(), self.by, "expunge", self.mailbox,
                                     sorted(marked | set(chosen.values())), gone))

    def append(self, mailbox, letter, flags):
        """APPEND of a new message."""
        start = time.monotonic()
        reply, uidvalidity, uid = None, None, None
        try:
            wire = letter.data.replace(b"\n", b"\r\n")
            reply = self.ask("APPEND", encode_folder(mailbox), f"({' '.join(flags)})",
                             literal=wire)
            told = reply.code("APPENDUID")
            if told:
                uidvalidity, uid = map(int, told.split())
        finally:
            self.book.record(Put(start, time.monotonic(), self.by, "append", mailbox,
                                 letter.token, letter.digest, flags,
                                 reply is not None and reply.status == "OK", uidvalidity, uid))

    def copy(self, uids, mailbox, move=False):
        """COPY or MOVE of messages whose tokens may go to that mailbox."""
        chosen = {uid: self.messages[uid].token for uid in uids
                  if self.book.claim(self.messages[uid].token, mailbox)}
        if not chosen:
            return
        start = time.monotonic()
        command = "MOVE" if move else "COPY"
        reply, told = None, {}
        try:
            text = ",".join(map(str, sorted(chosen)))
            reply = self.ask(f"UID {command} {text}", encode_folder(mailbox))
            told = copied(reply.code("COPYUID"))
        finally:
            done = reply is not None and reply.status == "OK"
            end = time.monotonic()
            for uid, token in chosen.items():
                validity, new = told.get(uid, (None, None))
                self.book.record(Put(start, end, self.by, command.lower(), mailbox, token,
                                     self.book.digest_of(token), None, done and new is not None,
                                     validity, new))
            if move:
                gone = [token for uid, token in chosen.items() if uid in told] if done else []
                self.book.record(Removal(start, end, self.by, "move", self.mailbox,
                                         sorted(chosen.values()), gone))

    def folder(self, how, mailbox, new_name=None):
        """CREATE, DELETE, RENAME, SUBSCRIBE or UNSUBSCRIBE; whether it was done."""
        start = time.monotonic()
        done = False
        try:
            names = [encode_folder(name) for name in (mailbox, new_name) if name]
            done = self.ask(how.upper(), *names).status == "OK"
        finally:
            self.book.record(FolderChange(start, time.monotonic(), self.by, how, mailbox, done,
                                          new_name))
        return done

    def folders(self, quiet=False):
        """LIST and LSUB."""
        start = time.monotonic()
        with self.tried("LIST"):
            names = folder_names(self.client.folders())
            subscribed = folder_names(self.client.folders("LSUB"))
        self.book.record(FolderListing(start, time.monotonic(), self.by, names, subscribed, quiet))


def copied(code):
    """{source UID: (UIDVALIDITY, new UID)} of a COPYUID."""
    if not code:
        return {}
    validity, sources, targets = code.split()
    return dict(zip(numbers(sources), ((int(validity), new) for new in numbers(targets))))


def numbers(text):
    """The numbers of a set such as 3:5,9."""
    found = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        first, last = int(first), int(last or first)
        found += range(first, last + 1) if last >= first else range(first, last - 1, -1)
    return found


class PopSession(Session):
    """POP3 on INBOX."""

    mailbox = "INBOX"

    def __init__(self, by, connect, book, place):
        super().__init__(by, connect, book, place)
        self.messages = []
        self._seen = []  # (when, token) of what RETR marks

    def look(self, quiet=False, bodies=1.0):
        """UIDL, and TOP of each message: of its first lines only, or whole."""
        with self.tried("UIDL"):
            uidls = self.client.uidls()
        self.messages = [PopSighting(uidl) for uidl in uidls]
        chosen = range(len(uidls))
        if len(uidls) > LARGE and not quiet:
            first = self.book.rng.randrange(len(uidls) - 2 * SAMPLE)
            chosen = [*range(first, first + SAMPLE), *range(len(uidls) - SAMPLE, len(uidls))]
        for index in chosen:
            lines = 10**6 if self.book.chance(bodies) else 0
            data = self._message(f"TOP {index + 1} {lines}")
            token = token_in(data)
            whole = digest(data) if lines and token else None
            self.messages[index] = PopSighting(uidls[index], token, whole)
        self.book.record(PopListing(self.started, time.monotonic(), self.by, self.mailbox,
                                    [self.messages[index] for index in chosen], quiet,
                                    complete=len(chosen) == len(uidls)))

    def _message(self, command):
        """The bytes, or None if the server says that the message is gone."""
        with self.tried(command.split()[0]):
            try:
                self.client.command(command)
            except Refused as refusal:
                self.refused(time.monotonic(), "RETR", re.sub(r"\d+", "#", str(refusal)))
                return None
            return b"".join(self.client._body())  # pylint: disable=protected-access

    def retrieve(self, number):
        """RETR: marks the message as seen, now (Courier) or at QUIT (Dovecot)."""
        start = time.monotonic()
        try:
            data = self._message(f"RETR {number + 1}")
            uidl = self.messages[number].uidl
            if token_in(data):
                self.messages[number] = PopSighting(uidl, token_in(data), digest(data))
        finally:
            self._seen.append((start, self.messages[number].token))

    def leave(self, delete, politely):
        """DELE of messages by index, then QUIT, or just the end of the connection."""
        # Of a large mailbox a look shows a part; what it did not show cannot be told by its token.
        delete = [number for number in delete if self.messages[number].token]
        chosen = [self.messages[number].token for number in delete]
        start, done = time.monotonic(), False
        try:
            if politely:
                for number in delete:
                    with self.tried("DELE"):
                        self.client.dele(number + 1)
                with self.tried("QUIT"):
                    self.client.command("QUIT")
                    done = True
        finally:
            self.close(politely=False)
            end = time.monotonic()
            if chosen and politely:
                self.book.record(Removal(start, end, self.by, "dele", self.mailbox, chosen,
                                         chosen if done else []))
            for began, token in self._seen:
                if token:
                    self.book.record(Change(began, end, self.by, self.mailbox, token,
                                            ["\\Seen"], [], False))
