"""The laboratory for faults: users of each kind, used once each, and what must be so afterwards."""

import os
import random
import time
from collections import Counter
from dataclasses import replace

import pytest

from servers.answers import flags_alone, nothing_in
from servers.fault_operations import BROKEN, IDA, JAN, KIM, Told
from servers.faults import CHANGES, ERRORS, Faults
from servers.lab import as_mail_user
from servers.ledger import Ledger
from servers.site import Site, ask_courier, strange_things
from servers.store import Builder, Store, letter

EVERY_STEP = bool(os.environ.get("COURIERFS_ALL_STEPS"))
# A sample of this many steps of an operation, unless it is one of those whose every step counts.
SAMPLED = 4

# What the daemon may log when a call on the store fails.
COMPLAINTS = "|".join([*(os.strerror(number) for number in ERRORS), "is ended"])
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

# ---- what must be so afterwards ----

def without_keywords(change):
    """The same change of flags alone."""
    added = {folder: {message: None if flags is None else flags_alone(flags)
                      for message, flags in messages.items()}
             for folder, messages in change.added.items()}
    return replace(change, added=added,
                   flags={message: flags_alone(flags) for message, flags in change.flags.items()})


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
            answers = self.site.comparable(ask_courier(self.courier, self.store, user))
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
        if self.site.mount.is_control:
            change = without_keywords(change)
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
        found = [line for line in strange_things(self.store, self.site.mount.is_control)
                 if str(maildir) in line
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

# ---- a store of another kind ----

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
