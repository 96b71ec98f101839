"""One account, asked of both servers, and asked again while it differs.

Whatever can be asked and compared alone is a topic: the list of mailboxes, each mailbox, POP3.
Mail arrives and changes meanwhile; so a topic that differs is asked again, in new sessions, and
only a difference that was there every time counts.

The order of the two servers matters, because asking leaves something behind (compare-servers
--help): POP3 goes to Courier first, IMAP to Dovecot first.
"""

import contextlib
import threading
from dataclasses import dataclass, field, replace

from comparing.judge import (
    SIZES, Finding, both, compare_folders, compare_listings, compare_pop3, explain, show_key)
from comparing.sessions import ImapSession, Pop3Session, Refused, Trouble, Unreachable


@dataclass
class Wishes:
    """What is asked, and how often."""

    imap: bool = True
    pop3: bool = True
    sizes: bool = True
    again: int = 2
    pause: float = 3
    texts: int = 1000
    longest: float = 3600


@dataclass
class Result:
    """What came out of an account."""

    account: str
    differences: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    mailboxes: int = 0
    messages: int = 0
    pop3_messages: int = 0
    settled: int = 0  # topics that differed, and were equal when they were asked again

    @property
    def equal(self):
        """Whether everything was asked and nothing differs."""
        return not (self.differences or self.errors)


class Topic:
    """One thing to ask, and what is still different about it."""

    def __init__(self):
        self.error = None
        self.notes = []
        self.count = 0  # messages
        self.differed = False
        self.proofs = {}  # what the texts said: {(item, sizes): Finding}
        self._differences = None  # {identity: Finding}; None before the first answer
        self._uidvalidities = []

    def take(self, findings):
        """The next answer's findings; differences that are not among them are forgotten."""
        self.error = None
        self.notes = [finding for finding in findings if finding.note]
        found = {finding.identity: finding for finding in findings if not finding.note}
        self.differed = self.differed or bool(found)
        if self._differences is not None:
            found = {name: found[name] for name in found if name in self._differences}
        self._differences = found

    def fail(self, error):
        """There was no answer."""
        self.error = str(error)

    @property
    def settled(self):
        """Whether there is nothing more to ask."""
        return self._differences == {} and not self.error

    @property
    def differences(self):
        """What was different every time."""
        return list((self._differences or {}).values())

    def told_uidvalidity(self, courier, dovecot):
        """Remembers the numbers of one answer.

        A server that tells another one each time has saved none: no client knows it, so that it
        cannot differ from anything.
        """
        self._uidvalidities.append((courier, dovecot))
        if len(self._uidvalidities) < 2:
            return
        for name, told in zip(("Courier", "Dovecot"), zip(*self._uidvalidities)):
            if len(set(told)) == len(told):
                self._forgive_uidvalidity(name)

    def _forgive_uidvalidity(self, server):
        for name, finding in list(self._differences.items()):
            if finding.kind == "UIDVALIDITY":
                del self._differences[name]
                self.differed = bool(self._differences)
                self.notes.append(replace(
                    finding, kind="UIDVALIDITY not given yet", note=True,
                    why=f"; {server} tells another one each time, as for a mailbox never opened"))


class Guard:
    """Ends all sessions of an account when it takes too long, or when everything is to end."""

    def __init__(self, seconds):
        self.reason = None
        self._sessions = []
        self._lock = threading.Lock()
        self.over = threading.Event()
        self._timer = threading.Timer(seconds, self.end, [f"took longer than {seconds:g} s"])
        self._timer.daemon = True

    def __enter__(self):
        self._timer.start()
        return self

    def __exit__(self, *_):
        self._timer.cancel()

    def end(self, reason):
        """Ends every session, from another thread."""
        with self._lock:
            self.reason = self.reason or reason
            self.over.set()
            for session in self._sessions:
                session.abort()

    @contextlib.contextmanager
    def session(self, kind, server, account):
        """A session that ends when the block does, or before."""
        self.check()
        with kind(server, account) as session:
            with self._lock:
                self._sessions.append(session)
            try:
                self.check()
                yield session
            finally:
                with self._lock:
                    self._sessions.remove(session)

    def check(self):
        """Raises when it is over."""
        if self.reason:
            raise Unreachable(self.reason)


class Pair:
    """An IMAP session with each server, made when it is first used, and anew when it broke."""

    def __init__(self, guard, account, courier, dovecot):
        self._guard = guard
        self._account = account
        self._servers = {"courier": courier, "dovecot": dovecot}
        self._stack = contextlib.ExitStack()
        self._sessions = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end()

    def _session(self, name):
        if name in self._sessions and self._sessions[name].broken:
            self._end()
        if name not in self._sessions:
            self._guard.check()
            self._sessions[name] = self._stack.enter_context(
                self._guard.session(ImapSession, self._servers[name], self._account))
        return self._sessions[name]

    @property
    def courier(self):
        """The session with Courier."""
        return self._session("courier")

    @property
    def dovecot(self):
        """The session with Dovecot."""
        return self._session("dovecot")

    def _end(self):
        self._sessions.clear()
        self._stack.close()


class Account:
    """One account at both servers."""

    def __init__(self, name, courier, dovecot, wishes, guard):
        self._name = name
        self._courier = courier
        self._dovecot = dovecot
        self._wishes = wishes
        self._guard = guard
        self._pop3 = Topic()
        self._listing = Topic()
        self._folders = {}  # {key: Topic}

    def compare(self):
        """Asks, and asks again; the Result."""
        for turn in range(1 + self._wishes.again):
            if all(topic.settled for topic in self._topics()):
                break
            if turn and self._guard.over.wait(self._wishes.pause):
                break
            if self._wishes.pop3 and not self._pop3.settled:
                self._attempt(self._pop3, self._ask_pop3)
            if self._wishes.imap and not all(t.settled for t in self._imap_topics()):
                self._attempt(self._listing, self._ask_imap)
        return self._result()

    def _imap_topics(self):
        return [self._listing, *(self._folders[key] for key in sorted(self._folders))]

    def _topics(self):
        return ([self._pop3] if self._wishes.pop3 else []) + (
            self._imap_topics() if self._wishes.imap else [])

    def _attempt(self, topic, ask):
        try:
            ask()
        except Trouble as error:
            topic.fail(self._guard.reason or error)

    def _result(self):
        topics = self._topics()
        errors = [topic.error for topic in topics if topic.error]
        return Result(
            self._name,
            [finding for topic in topics for finding in topic.differences],
            [finding for topic in topics for finding in topic.notes],
            list(dict.fromkeys(errors)),
            len(self._folders), sum(topic.count for topic in self._folders.values()),
            self._pop3.count, sum(topic.differed and topic.settled for topic in topics))

    # ---- POP3 ----

    def _ask_pop3(self):
        with contextlib.ExitStack() as stack:
            courier = self._pop3_messages(stack, self._courier)
            dovecot = self._pop3_messages(stack, self._dovecot)
            refused = [answer for answer in (courier, dovecot) if isinstance(answer, Refused)]
            if len(refused) == 2 and self._wishes.imap:
                # Were it the password, IMAP would be refused, too.
                self._pop3.take([Finding("POP3 refused", "POP3", "the login is refused by both:",
                                         both(*refused), note=True)])
                return
            if refused:
                raise refused[0]
            (ours, courier), (theirs, dovecot) = courier, dovecot
            self._pop3.count = len(courier)
            numbers = [{uidl: number for number, (uidl, _) in enumerate(messages, start=1)}
                       for messages in (courier, dovecot)]
            self._pop3.take(self._look_at_texts(
                self._pop3, compare_pop3(courier, dovecot),
                lambda uidl: (dict(courier)[uidl], *ours.text(numbers[0][uidl])),
                lambda uidl: (dict(dovecot)[uidl], *theirs.text(numbers[1][uidl]))))

    def _pop3_messages(self, stack, server):
        """A session and its messages; or the refusal, if it is one that will stay."""
        try:
            session = stack.enter_context(self._guard.session(Pop3Session, server, self._name))
        except Refused as error:
            if any(code in str(error) for code in ("[SYS/", "[IN-USE]", "[LOGIN-DELAY]")):
                raise
            return error
        return session, session.messages(self._wishes.sizes)

    # ---- IMAP ----

    def _ask_imap(self):
        with Pair(self._guard, self._name, self._courier, self._dovecot) as pair:
            theirs = pair.dovecot.listing()
            ours = pair.courier.listing()
            if not self._listing.settled:
                self._listing.take(compare_listings(ours, theirs))
            for key in ours.folders.keys() & theirs.folders.keys():
                self._folders.setdefault(key, Topic())
            for key in sorted(self._folders):
                topic = self._folders[key]
                if topic.settled:
                    continue
                if key not in ours.folders or key not in theirs.folders:
                    topic.take([])  # it went away, and is the list's topic now
                    continue
                try:
                    self._ask_folder(topic, key, pair, (ours, theirs))
                except Unreachable:
                    raise
                except Trouble as error:
                    topic.fail(f"{show_key(key)}: {self._guard.reason or error}")

    def _ask_folder(self, topic, key, pair, listings):
        ours, theirs = (listing.folders[key] for listing in listings)
        dovecot = self._folder(pair.dovecot, theirs)
        courier = self._folder(pair.courier, ours)
        refused = [answer for answer in (courier, dovecot) if isinstance(answer, Refused)]
        where = show_key(key)
        if refused:
            topic.take([Finding("mailbox", where, "cannot be opened:", " ".join(map(str, refused)),
                                note=len(refused) == 2)])
            return
        topic.count = len(courier.messages)
        topic.take(self._look_at_texts(
            topic, compare_folders(where, courier, dovecot),
            lambda uid: (courier.messages[uid].size, *pair.courier.text(ours, uid)),
            lambda uid: (dovecot.messages[uid].size, *pair.dovecot.text(theirs, uid))))
        topic.told_uidvalidity(courier.uidvalidity, dovecot.uidvalidity)

    def _folder(self, session, name):
        try:
            return session.folder(name, self._wishes.sizes)
        except Refused as error:
            return error

    # ---- texts ----

    def _look_at_texts(self, topic, findings, courier, dovecot):
        """The findings, with what the texts say about those on sizes."""
        return [self._look_at_text(topic, finding, courier, dovecot)
                if finding.kind in SIZES else finding for finding in findings]

    def _look_at_text(self, topic, finding, courier, dovecot):
        place = finding.item, finding.values
        if place not in topic.proofs:
            if len(topic.proofs) >= self._wishes.texts:
                return replace(finding, why="; the texts were not fetched, there are too many")
            try:
                topic.proofs[place] = explain(finding, courier(finding.item),
                                              dovecot(finding.item))
            except Unreachable:
                raise
            except Trouble as error:
                return replace(finding, why=f"; {error}")
        return topic.proofs[place]
