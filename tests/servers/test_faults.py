"""Faults at every step: the daemon dies, or a call on the store fails. No client was told a lie."""

import contextlib
import errno
import os
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

from servers.answers import digest, nothing_in, same
from servers.courier import deliver
from servers.faults import CHANGES, ERRORS, FOR_EVER, LOOKS, Faults
from servers.imap import Refused
from servers.lab import MAIL_GID, MAIL_UID, STORES, as_mail_user, wait_until
from servers.ledger import Ledger
from servers.site import Site, ask_courier, strange_things
from servers.store import Builder, Store, letter

pytestmark = pytest.mark.skipif(bool(STORES), reason="faults are put below the daemon, not on NFS")

IDA = "ida@example.org"  # IMAP only
JAN = "jan@example.org"  # IMAP and POP3, with mail that is not in the size list
LEA = "lea@example.org"  # has no mail yet
KIM = "kim@example.org"  # never seen by any server; mail in new/ and in cur/

EVERY_STEP = bool(os.environ.get("COURIERFS_ALL_STEPS"))
# A sample of this many steps of an operation, unless it is one of those whose every step counts.
SAMPLED = 4

# A dead daemon, and a call that failed, as a client may see it.
BROKEN = (EOFError, Refused, ConnectionError)
# What the daemon may log when a call on the store fails.
COMPLAINTS = "|".join(os.strerror(number) for number in ERRORS)
# What Dovecot must never find, whatever fails below it.
LIES = ("Panic", "reappeared", "UIDVALIDITY changed", "Duplicate", "renumber", "UIDVALIDITY lost")


@pytest.fixture(scope="module", name="templates")
def build_templates(lab, courier):
    """A store with one user of each kind, from which each step gets a user of its own."""
    builder = Builder(lab, courier)
    for user in (IDA, JAN, KIM):
        builder.add_user(user)
        builder.deliver(user, count=4)
    for user in (IDA, JAN):
        with builder.imap(user) as imap:
            imap.select("INBOX")
            imap.command("STORE 1 +FLAGS (\\Seen)")
            imap.command("STORE 2 +FLAGS ($Label1)")
            for number, folder in enumerate(("INBOX.Target", "INBOX.Target.Sub")):
                imap.command("CREATE", folder)
                imap.append(folder, letter(700 + number), "\\Seen")
            imap.command("SUBSCRIBE INBOX")
    builder.log_in_by_pop3(JAN)
    builder.deliver(JAN)
    with as_mail_user():
        maildir = builder.store.maildir(KIM)
        for i, waiting in enumerate(sorted((maildir / "new").iterdir())[:2]):
            waiting.rename(maildir / "cur" / f"{waiting.name}:2,{'S' * i}")
    yield builder.store
    builder.store.discard()


# ---- what clients were told ----

@dataclass
class Told:
    """What a client was told before the fault, or instead of it."""

    uids: dict = field(default_factory=dict)  # {(folder, UIDVALIDITY, UID): digest}
    uidls: dict = field(default_factory=dict)  # {UIDL: digest}
    validity: dict = field(default_factory=dict)  # {folder: UIDVALIDITY}

    def select(self, imap, folder):
        """Selects a folder and notes every message that the session shows from now on."""
        def hear(response):
            if response.name != "FETCH":
                return
            words = response.values[0]
            item = {words[i].upper(): words[i + 1] for i in range(0, len(words), 2)}
            if b"UID" in item and b"BODY[]" in item:
                key = (folder, self.validity[folder], int(item[b"UID"]))
                self.uids[key] = digest(item[b"BODY[]"])

        imap.witness = hear
        self.validity[folder] = int(imap.select(folder).code("UIDVALIDITY"))

    def assigned(self, folder, code, digests):
        """Notes an APPENDUID or COPYUID."""
        validity, *_, uids = code.split()
        self.validity[folder] = int(validity)
        for uid, message in zip(expand(uids), digests, strict=True):
            self.uids[folder, int(validity), uid] = message

    def broken_by(self, answers, moved, removed):
        """What of it the answers deny, in words."""
        def name(folder):
            return folder if folder in answers.folders else moved.get(folder, folder)

        found = [f"{folder}: UIDVALIDITY {validity} was told" for folder, validity
                 in self.validity.items()
                 if answers.folders[name(folder)].uidvalidity != validity]
        for (folder, _, uid), message in self.uids.items():
            there = answers.folders[name(folder)].messages.get(uid)
            if there is None and message not in removed:
                found.append(f"{folder}: UID {uid} was told and is gone")
            elif there is not None and there.digest != message:
                found.append(f"{folder}: UID {uid} was told for {message}: {there.digest}")
        shown = dict(answers.pop3)
        found += [f"UIDL {uidl} was told for {message}: {shown.get(uidl)}"
                  for uidl, message in self.uidls.items() if shown.get(uidl) != message]
        return found


def wire_digest(message):
    """The digest of a message as IMAP gives it back."""
    return digest(message.replace(b"\n", b"\r\n"))


def expand(numbers):
    """The numbers of a set such as 3,5:7."""
    for part in numbers.split(","):
        first, _, last = part.partition(":")
        yield from range(int(first), int(last or first) + 1)


# ---- what a client does ----

@dataclass
class Change:
    """What an operation changes: all of it when it was answered OK, else any part of it."""

    added: dict = field(default_factory=dict)  # {folder: {digest: its flags, or None}}
    removed: frozenset = frozenset()  # digests
    flags: dict = field(default_factory=dict)  # {digest: flags}
    subscribed: frozenset = frozenset()
    created: frozenset = frozenset()
    moved: dict = field(default_factory=dict)  # {folder: its new name}


class Operation:
    """Something a client does. What happens before `act` happens without faults."""

    template = IDA
    folder = "INBOX"
    # A mailbox that Dovecot makes in several steps; Courier would make it in the same ones. Courier
    # cannot open one that is half made, Dovecot completes it.
    may_be_unfinished = ()
    # Dovecot answers OK to a STORE whose rename failed, and believes its own index from then on.
    index_may_lie = False

    def __init__(self, site, user, before, told):
        self.site = site
        self.user = user
        self.before = before
        self.told = told
        self.session = None

    def start(self):
        """Logs in."""
        self.session = self.site.dovecot.imap(self.user)

    def meanwhile(self):
        """What happens once, after the first login."""

    def by_uid(self):
        """The digests of the folder's messages, in the order of their UIDs."""
        messages = self.before.folders[self.folder].messages
        return [messages[uid].digest for uid in sorted(messages)]

    def act(self):
        """Does it; raises one of BROKEN when the server does not answer OK."""
        raise NotImplementedError

    def again(self):
        """Does what is left of it."""
        self.act()

    def change(self):
        """The Change."""
        return Change()

    def stop(self):
        """Leaves without a word."""
        if self.session:
            self.session.close()


class Selected(Operation):
    """In a mailbox that was selected before."""

    def start(self):
        super().start()
        self.told.select(self.session, self.folder)


class WithCompetitor(Operation):
    """In a mailbox with mail that nobody has seen, and that Courier would number first."""

    target = "INBOX"
    competitor = letter(902)

    def meanwhile(self):
        deliver(self.site.store.folder(self.user, self.target), self.competitor,
                name="1600000000.earlier")

    def added(self):
        """What the change adds besides."""
        return {wire_digest(self.competitor): None}


class Append(WithCompetitor):
    """APPEND with flags and a keyword that the mailbox does not know."""

    message = letter(900)
    flags = frozenset({"\\Seen", "\\Flagged", "NewWord"})

    def act(self):
        reply = self.session.append(self.folder, self.message, " ".join(self.flags))
        self.told.assigned(self.folder, reply.code("APPENDUID"), [wire_digest(self.message)])

    def change(self):
        return Change(added={"INBOX": self.added() | {wire_digest(self.message): self.flags}})


class Arrival(Selected):
    """New mail, seen by NOOP, in a mailbox that POP3 uses, too; and a flag that Courier set, so that
    Dovecot looks at all messages: those that its list lacks then are gone to it for ever."""

    template = JAN
    message = letter(901)

    def meanwhile(self):
        maildir = self.site.store.maildir(self.user)
        with self.site.courier.imap(maildir) as imap:
            imap.select("INBOX")
            imap.command("STORE 1 +FLAGS (\\Flagged)")
        deliver(maildir, self.message)

    def act(self):
        reply = self.session.command("NOOP", expect=None)
        assert not reply.named("EXPUNGE"), reply
        if reply.status != "OK":
            raise Refused(reply)
        self.session.command("UID FETCH 1:* (UID BODY.PEEK[])")

    def change(self):
        return Change(added={"INBOX": {wire_digest(self.message): None}},
                      flags={self.by_uid()[0]: frozenset({"\\Seen", "\\Flagged"})})


class Keyword(Selected):
    """STORE of a flag and of a keyword that the mailbox does not know."""

    index_may_lie = True

    def act(self):
        self.session.command("UID STORE 2 +FLAGS (\\Answered Fresh)")

    def change(self):
        return Change(flags={self.by_uid()[1]: frozenset({"\\Answered", "Fresh", "$Label1"})})


class Copy(WithCompetitor, Selected):
    """COPY of two messages, one with a keyword."""

    target = "INBOX.Target"

    def act(self):
        reply = self.session.command("COPY 1:2 INBOX.Target")
        self.told.assigned("INBOX.Target", reply.code("COPYUID"), self.by_uid()[:2])

    def change(self):
        first, second = self.by_uid()[:2]
        return Change(added={"INBOX.Target": self.added() | {
            first: {"\\Seen"}, second: {"$Label1"}}})


class Expunge(Selected):
    """EXPUNGE of two messages."""

    def start(self):
        super().start()
        self.session.command("UID STORE 2:3 +FLAGS (\\Deleted)")

    def act(self):
        self.session.command("EXPUNGE")

    def change(self):
        return Change(removed=frozenset(self.by_uid()[1:3]),
                      flags={d: frozenset({"\\Deleted", "$Label1"}) for d in self.by_uid()[1:3]})


class Look(Selected):
    """FETCH of everything in a mailbox that another session changed."""

    template = JAN

    def meanwhile(self):
        with self.site.courier.imap(self.site.store.maildir(self.user)) as imap:
            imap.select("INBOX")
            imap.command("STORE 1 +FLAGS (\\Flagged)")

    def act(self):
        self.session.command("NOOP")
        self.session.command("UID FETCH 1:* (UID FLAGS BODY.PEEK[])")

    def change(self):
        return Change(flags={self.by_uid()[0]: frozenset({"\\Seen", "\\Flagged"})})


class Subscribe(Operation):
    """SUBSCRIBE."""

    def act(self):
        self.session.command("SUBSCRIBE INBOX.Target")

    def change(self):
        return Change(subscribed=frozenset({"INBOX.Target"}))


class FirstPop3(Operation):
    """The first POP3 login of a mailbox that only IMAP used: the size list is made."""

    def start(self):
        pass

    def act(self):
        self.session = pop3 = self.site.dovecot.pop3(self.user)
        for number, uidl in enumerate(pop3.uidls(), start=1):
            self.told.uidls[uidl] = digest(pop3.top(number))
        pop3.command("QUIT")


class FirstPop3OfAll(FirstPop3):
    """The same for a mailbox that no server ever saw."""

    template = KIM


class FirstSelect(Operation):
    """The first SELECT of a mailbox without uid database."""

    template = KIM

    def act(self):
        self.told.select(self.session, "INBOX")
        self.session.command("UID FETCH 1:* (UID BODY.PEEK[])")


class Create(Operation):
    """CREATE, and SELECT of what was created."""

    may_be_unfinished = (".Fresh",)

    def act(self):
        self.session.command("CREATE INBOX.Fresh")
        self.told.select(self.session, "INBOX.Fresh")

    def again(self):
        if "INBOX.Fresh" in self.session.folders():
            self.told.select(self.session, "INBOX.Fresh")
        else:
            self.act()

    def change(self):
        return Change(created=frozenset({"INBOX.Fresh"}))


class Rename(Operation):
    """RENAME of a folder."""

    def act(self):
        self.session.command("RENAME INBOX.Target.Sub INBOX.Moved")

    def again(self):
        if "INBOX.Moved" not in self.session.folders():
            self.act()

    def change(self):
        return Change(moved={"INBOX.Target.Sub": "INBOX.Moved"})


OPERATIONS = (Append, Arrival, Keyword, Copy, Expunge, Subscribe, FirstPop3, FirstPop3OfAll,
              FirstSelect, Create, Rename)
# Every step of these is always tried.
MOST_IMPORTANT = (Append, Arrival, FirstPop3)


# ---- what must be so afterwards ----

def flags_are_between(flags, old, new, done):
    """Whether the flags are the new ones, or, unless it was done, some of both."""
    return flags == new if done else (old & new) <= flags <= (old | new)


def different(before, after, change, done, limit=1):
    """What is neither as it was nor as the operation makes it, in words."""
    found = []
    names = {change.moved.get(n, n) if change.moved.get(n, n) in after.folders else n
             for n in before.folders}
    created = set(after.folders) - names
    if created - change.created or names - set(after.folders) or (
            done and created != change.created):
        found.append(f"folders {sorted(before.folders)} became {sorted(after.folders)}")
    gained = after.subscriptions - before.subscriptions
    if before.subscriptions - after.subscriptions or gained - change.subscribed or (
            done and gained != change.subscribed):
        found.append(f"subscriptions {before.subscriptions} became {after.subscriptions}")
    for name, was in before.folders.items():
        moved = change.moved.get(name, name)
        now = after.folders.get(moved) or after.folders.get(name)
        if now is not None:
            found += different_messages(name, was, now, change, done, limit)
            if done and moved not in after.folders:
                found.append(f"{name} was not renamed")
    return found


def different_messages(name, was, now, change, done, limit):
    """The same for one folder."""
    found = []
    added = dict(change.added.get(name, {}))
    if was.uidvalidity and was.uidvalidity != now.uidvalidity:
        found.append(f"{name}: UIDVALIDITY {was.uidvalidity} became {now.uidvalidity}")
    for uid, message in was.messages.items():
        there = now.messages.get(uid) if was.uidvalidity else next(
            (m for m in now.messages.values() if m.digest == message.digest), None)
        if there is None or there.digest != message.digest:
            if message.digest not in change.removed:
                found.append(f"{name}: UID {uid}, {message}, became {there}")
            continue
        if done and message.digest in change.removed:
            found.append(f"{name}: UID {uid} was not removed")
        new = change.flags.get(message.digest, message.flags)
        if not flags_are_between(there.flags, message.flags, new, done):
            found.append(f"{name}: UID {uid}: flags {set(message.flags)} became {set(there.flags)}")
    old = Counter(message.digest for message in was.messages.values())
    for message, count in (Counter(m.digest for m in now.messages.values()) - old).items():
        flags = added.pop(message, "none")
        if flags == "none" or count > limit:
            found.append(f"{name}: {count} times {message} is new")
        elif flags is not None:
            there = [m.flags for m in now.messages.values() if m.digest == message]
            if not any(flags_are_between(f, frozenset(), flags, done) for f in there):
                found.append(f"{name}: {message} was added with {there}")
    if added and done:
        found.append(f"{name}: lacks {sorted(added)}")
    return found


# ---- the laboratory for it ----

class Place:
    """A site whose users are used once each."""

    def __init__(self, lab, courier, templates):
        self.lab = lab
        self.courier = courier
        self.templates = templates
        self.store = templates.copy(lab)
        self.site = Site(lab, courier, self.store)
        self.faults = Faults(lab, self.site.mount)
        self.ledger = Ledger()
        self._users = 0
        self._before = {}

    def new_user(self, template):
        """A user who has what the template has; its name."""
        self._users += 1
        user = f"u{self._users}@example.org"
        self._copy(self.templates.maildir(template).parent, self.store.maildir(user).parent)
        return user

    def _copy(self, source, target):
        done = self.lab.run(["cp", "-a", source, target])
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())

    def before(self, template):
        """What Courier answers of a template; UIDVALIDITY 0 where it had to make one."""
        if template not in self._before:
            user = self.new_user(template)
            unbound = self.site.without_uids(user, ["INBOX"])
            answers = ask_courier(self.courier, self.store, user)
            for name in unbound:
                answers.folders[name].uidvalidity = 0
            self._before[template] = answers
        return self._before[template]

    def begin(self, kind):
        """An operation of this kind for a new user, its client logged in."""
        operation = kind(self.site, self.new_user(kind.template), self.before(kind.template),
                         Told())
        operation.start()
        operation.meanwhile()
        return operation

    def check(self, operation, answers, done, limit=1):
        """Asserts that the answers are those after the operation, or after a part of it.

        What was added may be there `limit` times, if it was done as often. An OK means that all
        of it was done only where no call failed: Dovecot commits to its own index first, and
        answers OK to STORE and EXPUNGE also when it could not bring that to the maildir. What it
        tells of UIDs counts in any case.
        """
        change = operation.change()
        done = done and not self.faults.fired
        self.ledger.note(operation.user, answers)
        nothing_in(operation.told.broken_by(answers, change.moved, change.removed),
                   "told and not true")
        nothing_in(different(operation.before, answers, change, done, limit), "different")

    def step(self, done):
        """What failed, and what the client was told."""
        return (f"{self.faults.what.replace(str(self.store.path), '') or 'no fault'} "
                f"({'OK' if done else 'broken'})")

    def problems(self, operation, ask, done, limit=1):
        """What is wrong with a user's mail after a fault, in words."""
        try:
            self.check(operation, ask(), done, limit)
            self.check_store(operation)
            self.no_lies()
        except (AssertionError, *BROKEN) as problem:
            return [f"{self.step(done)}: {operation.user}: {type(problem).__name__}: {problem}"]
        return []

    def is_locked(self, operation):
        """Whether a lock is left in one of the user's mailboxes."""
        maildir = self.store.maildir(operation.user)
        return any(maildir.glob("tmp/courier.lock")) or any(maildir.glob(".*/tmp/courier.lock"))

    def check_store(self, operation):
        """Asserts that the user's files are as Courier leaves them."""
        maildir = self.store.maildir(operation.user)
        found = [line for line in strange_things(self.store) if str(maildir) in line
                 and not any(f"{maildir}/{name}: " in line
                             for name in operation.may_be_unfinished)]
        nothing_in(found, "the store is not as Courier leaves one")

    def drafts(self, user):
        """The files of ours that lie in tmp/ of a user's mailboxes."""
        maildir = self.store.maildir(user)
        return sorted(str(path.relative_to(maildir)) for pattern in ("tmp/*", ".*/tmp/*")
                      for path in maildir.glob(pattern)
                      if any(word in path.name for word in ("_courierfs_", "_courierlock_",
                                                            "_linked_", "_stalelock_")))

    def no_lies(self):
        """Asserts that Dovecot complained of nothing but errors of the store."""
        nothing_in([line for line in self.site.dovecot.complaints()
                    if any(word in line for word in LIES)], "Dovecot complained")


@pytest.fixture(name="place")
def make_place(lab, courier, templates):
    """The Place, mounted."""
    place = Place(lab, courier, templates)
    place.site.mount.start()
    try:
        yield place
    finally:
        place.faults.disarm()
        place.site.mount.stop()
        nothing_in(place.site.mount.unexpected_errors(), "the daemon complained")
        place.store.discard()


def attempt(operation, act=None):
    """Does it, and leaves; whether it was answered OK."""
    try:
        (act or operation.act)()
        return True
    except BROKEN:
        return False
    finally:
        start = time.monotonic()
        operation.stop()
        assert time.monotonic() - start < 10, "the session does not end"


def steps(place, kind, kinds=CHANGES, every=False):
    """The numbers of the steps to try, of all calls of these kinds that the operation makes."""
    operation = place.begin(kind)
    place.faults.count(kinds)
    done = attempt(operation)
    count = place.faults.disarm()
    assert done and count > 0
    place.check(operation, place.site.agree(operation.user), done=True)
    place.check_store(operation)
    if EVERY_STEP or every:
        return range(1, count + 1)
    seed = os.environ.get("COURIERFS_SEED") or str(random.SystemRandom().randrange(10**9))
    print(f"replay with COURIERFS_SEED={seed}")
    return sorted(random.Random(seed).sample(range(1, count + 1), min(SAMPLED, count)))


# ---- the daemon dies ----

@pytest.mark.parametrize("kind", OPERATIONS, ids=lambda kind: kind.__name__)
def test_killed_at_every_step(place, kind):
    """Right before each change to the store: Courier goes on at once, and Dovecot after it."""
    waits = 0
    found = []
    for step in steps(place, kind, every=kind in MOST_IMPORTANT):
        operation = place.begin(kind)
        place.faults.arm(step)
        done = attempt(operation)
        place.faults.disarm()
        died = place.faults.fired > 0
        if died:
            place.site.mount.kill()
        # Courier waits five seconds before it takes a dead process's lock: not each time.
        locked = place.is_locked(operation)
        may_wait = EVERY_STEP or not locked or (waits < 1 and kind in MOST_IMPORTANT)
        if step % 2 == 1 and may_wait and not kind.may_be_unfinished:
            waits += locked
            found += place.problems(operation, lambda: courier_alone(place, operation), done)
        if died:
            place.site.mount.start()
        found += place.problems(operation, lambda: place.site.agree(operation.user), done)
    nothing_in(found, "after kills")


def courier_alone(place, operation):
    """Courier's answers while nothing is mounted."""
    start = time.monotonic()
    answers = ask_courier(place.courier, place.store, operation.user)
    assert time.monotonic() - start < 10, "a lock that nobody has any more stops Courier"
    return answers


# ---- a call on the store fails ----

def fail_at_each(place, kind, kinds, every=False):
    """One call fails, with another error each time: no lie, no draft left, and it works again."""
    place.site.mount.expect_error(COMPLAINTS)
    found = []
    for step in steps(place, kind, kinds, every):
        operation = place.begin(kind)
        place.faults.arm(step, action=ERRORS[step % len(ERRORS)], kinds=kinds)
        done = attempt(operation)
        place.faults.disarm()
        assert place.site.mount.process.poll() is None, f"{place.step(done)}: the daemon died"
        if operation.index_may_lie:
            place.site.dovecot.forget_index()
        found += place.problems(operation, lambda: place.site.agree(operation.user), done)
        if place.drafts(operation.user) and "unlinkat" not in place.faults.what:
            found.append(f"{place.step(done)}: left {place.drafts(operation.user)}")
        if not done:
            what = place.step(done)
            place.faults.count()
            operation.start()
            if attempt(operation, operation.again):
                found += place.problems(operation, lambda: place.site.agree(operation.user), True,
                                        2)
            else:
                found.append(f"{what}: does not work again")
    nothing_in(found, "after errors")


@pytest.mark.parametrize("kind", OPERATIONS, ids=lambda kind: kind.__name__)
def test_a_change_fails(place, kind):
    """The disk is full or broken, for one call."""
    fail_at_each(place, kind, CHANGES, every=kind in MOST_IMPORTANT)


@pytest.mark.parametrize("kind", (Look, Append, Arrival, FirstPop3, FirstSelect),
                         ids=lambda kind: kind.__name__)
def test_a_look_fails(place, kind):
    """A call that only reads fails: what it would have shown is not taken for missing."""
    fail_at_each(place, kind, LOOKS)


# ---- the disk is full, or read-only, or away ----

def new_site(lab, courier, templates, path):
    """A site on a store at `path`, with the templates' users."""
    done = lab.run(["cp", "-a", f"{templates.path}/.", path])
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode())
    return Site(lab, courier, Store(path))


def mount_over(lab, path, *words):
    """mount(8); the laboratory unmounts it at its end."""
    done = lab.run(["mount", *words, path])
    if done.returncode != 0:
        pytest.skip(f"mount {' '.join(words)}: {done.stderr.decode()}")


def unmount(lab, path):
    """umount(8), of the innermost mount."""
    assert lab.run(["umount", path]).returncode == 0


def noted(ledger, told, site, user):
    """The answers on which both servers agree, entered in the ledger."""
    answers = site.agree(user)
    ledger.note(user, answers)
    nothing_in(told.broken_by(answers, {}, frozenset()), "told and not true")
    return answers


@pytest.mark.parametrize("limit", ["size=600k", "size=8m,nr_inodes=160"], ids=["bytes", "inodes"])
def test_the_disk_is_full(lab, courier, templates, limit):
    """APPEND says why it cannot; no mailbox looks empty; after a deletion all is as before."""
    path = lab.new_directory("small", owned_by_mail_user=True)
    mount_over(lab, path, "-t", "tmpfs", "-o", f"{limit},uid={MAIL_UID},gid={MAIL_GID},mode=755",
               "tmpfs")
    site = new_site(lab, courier, templates, path)
    site.mount.expect_error(COMPLAINTS)
    ledger, told = Ledger(), Told()
    with site:
        ledger.note(IDA, site.ask_dovecot(IDA))
        fill_up(site, told)
        with site.dovecot.imap(IDA) as imap:
            told.select(imap, "INBOX")
            imap.command("UID FETCH 1:* (UID BODY.PEEK[])")
        with pytest.raises(BROKEN), site.dovecot.imap(KIM) as imap:
            imap.select("INBOX")
        free_some(site)
        noted(ledger, told, site, IDA)
        with site.dovecot.imap(IDA) as imap:
            imap.append("INBOX", letter(950), "\\Seen Again")
        assert len(noted(ledger, told, site, IDA).folders["INBOX"].messages) > 4
        assert len(noted(ledger, Told(), site, KIM).folders["INBOX"].messages) == 4
        site.dovecot.complaints()
    unmount(lab, path)


def fill_up(site, told):
    """APPENDs until there is no room; what is left is eaten by another program."""
    for number in range(300):
        with site.dovecot.imap(IDA) as imap:
            message = letter(1003 + number * 4)
            reply = imap.append("INBOX", message, "\\Seen Full", expect=None)
        if reply.status != "OK":
            break
        told.assigned("INBOX", reply.code("APPENDUID"), [wire_digest(message)])
    assert reply.status == "NO", reply
    assert any(word in reply.text.lower() for word in ("space", "quota", "internal error")), reply
    with contextlib.suppress(OSError), as_mail_user():
        for number in range(1000):
            (site.store.maildir(JAN) / f"ballast{number}").write_bytes(b"x" * 4096)


def free_some(site):
    """Another user's mail goes."""
    shutil.rmtree(site.store.maildir(JAN))


def test_a_read_only_store(lab, courier, templates):
    """Remounted read-only below a mount that writes: it is read on, and written again later."""
    path = lab.new_directory("store", owned_by_mail_user=True)
    mount_over(lab, path, "--bind", str(path))
    site = new_site(lab, courier, templates, path)
    site.mount.expect_error("Read-only file system")
    ledger, told = Ledger(), Told()
    with site:
        before = noted(ledger, told, site, IDA)
        mount_over(lab, path, "-o", "remount,bind,ro")
        with site.dovecot.imap(IDA) as imap:
            told.select(imap, "INBOX")
            imap.command("UID FETCH 1:* (UID BODY.PEEK[])")
            assert imap.append("INBOX", letter(950), "\\Seen", expect=None).status == "NO"
            imap.command("UID STORE 1 +FLAGS (\\Answered)", expect=None)
            imap.command("SUBSCRIBE INBOX.Target", expect="NO")
            imap.command("CREATE INBOX.More", expect="NO")
        with pytest.raises(BROKEN), site.dovecot.imap(KIM) as imap:
            imap.select("INBOX")
        mount_over(lab, path, "-o", "remount,bind,rw")
        site.dovecot.forget_index()  # which may have kept the flag
        assert noted(ledger, told, site, IDA).folders == before.folders
        with site.dovecot.imap(IDA) as imap:
            imap.append("INBOX", letter(950), "\\Seen")
            imap.command("SUBSCRIBE INBOX.Target")
            imap.command("CREATE INBOX.More")
        after = noted(ledger, told, site, IDA)
        assert len(after.folders["INBOX"].messages) == len(before.folders["INBOX"].messages) + 1
        assert len(noted(ledger, Told(), site, KIM).folders["INBOX"].messages) == 4
        site.dovecot.complaints()
    unmount(lab, path)


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.ENOENT, errno.EACCES],
                         ids=errno.errorcode.get)
def test_the_store_vanishes(place, number):
    """Every call fails for a while: errors, never an empty mailbox, and then it is as before."""
    site = place.site
    site.mount.expect_error(os.strerror(number))
    users = [place.new_user(IDA), place.new_user(JAN), place.new_user(KIM)]
    before = {user: site.ask_dovecot(user) for user in users[:2]}
    with site.dovecot.imap(users[0]) as open_session:
        open_session.select("INBOX")
        place.faults.arm(1, FOR_EVER, action=number, kinds=CHANGES | LOOKS)
        for user in users:
            answers_nothing(site, user)
        with contextlib.suppress(*BROKEN):
            reply = open_session.command("NOOP", expect=None)
            assert not reply.named("EXPUNGE") and not reply.named("VANISHED")
        place.faults.disarm()
        open_session.close()
    for user in users[:2]:
        same(before[user], site.agree(user), "after the store came back")
    assert len(site.agree(users[2]).folders["INBOX"].messages) == 4
    place.no_lies()


def answers_nothing(site, user):
    """Asserts that no session is told of an empty mailbox."""
    with contextlib.suppress(*BROKEN):
        with site.dovecot.imap(user) as imap:
            reply = imap.select("INBOX")
            raise AssertionError(f"SELECT of a mailbox that is away: {reply}")
    with contextlib.suppress(*BROKEN):
        with site.dovecot.pop3(user) as pop3:
            raise AssertionError(f"POP3 of a mailbox that is away: {pop3.uidls()}")


def test_the_stores_directory_is_renamed(lab, courier, templates):
    """The daemon serves the directory that it was started on, whatever is called so now."""
    path = lab.new_directory("store", owned_by_mail_user=True)
    site = new_site(lab, courier, templates, path)
    with site:
        before = site.agree(IDA)
        away = path.with_name("away")
        path.rename(away)
        same(before, site.ask_dovecot(IDA), "while it has another name")
        path.mkdir()
        same(before, site.ask_dovecot(IDA), "while another directory has its name")
        path.rmdir()
        away.rename(path)
        same(before, site.agree(IDA), "when it has its name again")


# ---- the state directory ----

def test_the_state_directory_is_full(lab, courier, templates):
    """Answers are the same, and the log says it once."""
    site = new_site(lab, courier, templates,
                    lab.new_directory("store", owned_by_mail_user=True))
    mount_over(lab, site.mount.state, "-t", "tmpfs", "-o", "size=6m,mode=700", "tmpfs")
    with site:
        with contextlib.suppress(OSError), open(site.mount.state / "ballast", "wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        before = site.agree(IDA)
        for user in (JAN, KIM):
            site.agree(user)
        with site.dovecot.imap(IDA) as imap:
            imap.append("INBOX", letter(950), "\\Seen Word")
        assert len(site.agree(IDA).folders["INBOX"].messages) == 5
        assert len(site.mount.log_lines("warning")) <= 1, site.mount.log_lines("warning")
        assert before.folders["INBOX"].messages.items() <= \
            site.ask_dovecot(IDA).folders["INBOX"].messages.items()
    unmount(lab, site.mount.state)


def halved(content):
    """The first half of a file."""
    return content[:len(content) // 2]


def turned(content):
    """A file with a page in the middle turned over."""
    middle = len(content) // 2 // 4096 * 4096
    page = bytes(byte ^ 0xff for byte in content[middle:middle + 4096])
    return content[:middle] + page + content[middle + 4096:]


def replaced(_):
    """Something else."""
    return b"no" * 9


def emptied(_):
    """Nothing."""
    return b""


@pytest.mark.parametrize("damage, was_killed", [
    (halved, False), (turned, False), (emptied, False), (replaced, False),
    (halved, True), (turned, True)])
def test_a_damaged_cache(lab, courier, templates, damage, was_killed):
    """The same answers, a new cache, one line in the log."""
    site = new_site(lab, courier, templates,
                    lab.new_directory("store", owned_by_mail_user=True))
    if "nocache" in site.mount.options:
        pytest.skip("there is no cache")
    with site:
        before = {user: site.agree(user) for user in (IDA, JAN, KIM)}
        if was_killed:
            wait_until(lambda: "cache: 0 entries" not in site.mount.status(), "the cache has it")
            site.mount.kill()
        else:
            site.mount.stop()
        damage_cache(site.mount.state, damage)
        site.mount.start()
        for user, answers in before.items():
            same(answers, site.agree(user), "with a damaged cache")
        lines = [line for line in site.mount.log_lines("warning") + site.mount.log_lines("info")
                 if "cache" in line]
        # After a kill only what is still in use is looked at, not every byte.
        assert len(lines) == 1 or (was_killed and not lines), lines


def damage_cache(state, damage):
    """Changes the cache's file."""
    path = max((p for p in state.iterdir() if p.name.startswith("cache")),
               key=lambda p: p.stat().st_size)
    path.write_bytes(damage(path.read_bytes()))


# ---- two nodes ----

@pytest.fixture(name="nodes")
def make_nodes(lab, courier, templates):
    """Two sites with a state directory and a Dovecot each, on one store."""
    store = templates.copy(lab)
    with Site(lab, courier, store) as first, Site(lab, courier, store) as second:
        yield first, second
    store.discard()


def forget_everything(nodes):
    """Both nodes lose their state directories and Dovecot's indexes."""
    for node in nodes:
        node.mount.stop()
    for node in nodes:
        node.mount.remount(forget=True)
        node.dovecot.forget_index()


def test_both_nodes_show_keys_without_a_home(courier, nodes):
    """Message GUIDs and UIDLs that came by dsync: on both nodes, and without any state."""
    first, second = nodes
    courier.make_maildir(first.store.maildir(LEA))
    # Only a maildir keeps a UIDL that its POP3 server once told.
    source = {"mail_location": f"maildir:{first.dovecot.home}/source"}
    with first.dovecot.imap(LEA, **source) as imap:
        for number in range(3):
            imap.append("INBOX", letter(800 + number), "\\Seen Imported")
    with first.dovecot.pop3(LEA, **source, pop3_uidl_format="%08Xv-%08Xu",
                            pop3_save_uidl="yes") as pop3:
        foreign = uidls(pop3)
    guids = fetch(first, LEA, "guid hdr.subject", **source)
    first.dovecot.doveadm(LEA, "sync", "-1", "-R", source["mail_location"])
    assert fetch(first, LEA, "guid hdr.subject") == guids, "dsync keeps the GUIDs"
    rows = fetch(first, LEA, "uid guid pop3.uidl")
    assert fetch(second, LEA, "uid guid pop3.uidl") == rows
    for _ in range(2):
        for node in nodes:
            with node.dovecot.pop3(LEA) as pop3:
                assert uidls(pop3) == foreign
            assert fetch(node, LEA, "uid guid pop3.uidl") == rows
        forget_everything(nodes)


def uidls(pop3):
    """{UIDL: digest} of a session."""
    return {uidl: digest(pop3.top(number)) for number, uidl in enumerate(pop3.uidls(), start=1)}


def fetch(node, user, fields, **settings):
    """The rows of doveadm fetch of a user's INBOX."""
    return sorted(node.dovecot.doveadm(user, "-f", "tab", "fetch", fields, "mailbox", "INBOX",
                                       "ALL", **settings).splitlines()[1:])


def test_a_copys_guid_is_the_same_on_both_nodes(nodes):
    """COPY makes a message with a GUID of its own where the base name is taken."""
    first, second = nodes
    with first.dovecot.imap(IDA) as imap:
        imap.select("INBOX")
        imap.command("COPY 1:3 INBOX")
        imap.command("COPY 1:2 INBOX")
    rows = fetch(first, IDA, "uid guid")
    assert len(rows) == 9
    for _ in range(2):
        for node in nodes:
            assert fetch(node, IDA, "uid guid") == rows
        forget_everything(nodes)
    same(first.agree(IDA), second.agree(IDA), "on the other node")


def test_letters_are_the_same_on_both_nodes(nodes):
    """A keyword that one node gave a letter has this letter in the names the other shows."""
    for number, node in enumerate((*nodes, *nodes)):
        with node.dovecot.imap(IDA) as imap:
            imap.select("INBOX")
            imap.command(f"STORE {number + 1} +FLAGS (Word{number} Other{number % 2})")
        names = [sorted(os.listdir(other.seen(IDA) / "cur")) for other in nodes]
        assert names[0] == names[1]
        letters = [(other.seen(IDA) / "dovecot-keywords").read_text(encoding="ascii")
                   for other in nodes]
        assert letters[0] == letters[1]
    forget_everything(nodes)
    assert [sorted(os.listdir(other.seen(IDA) / "cur")) for other in nodes] == names
    same(nodes[0].agree(IDA), nodes[1].agree(IDA), "on the other node")


def test_uids_by_turns(nodes):
    """APPENDs by either node: no UID twice, and both tell the same of every message."""
    told = Told()
    for number in range(8):
        with nodes[number % 2].dovecot.imap(IDA) as imap:
            message = letter(1000 + number)
            reply = imap.append("INBOX", message, f"\\Seen Word{number % 3}")
            told.assigned("INBOX", reply.code("APPENDUID"), [wire_digest(message)])
    assert len(told.uids) == 8
    answers = nodes[0].agree(IDA)
    same(answers, nodes[1].agree(IDA), "on the other node")
    nothing_in(told.broken_by(answers, {}, frozenset()), "told and not true")
