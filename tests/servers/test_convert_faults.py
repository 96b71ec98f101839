"""`courierctl convert` and `revert`, killed before each change of the store in turn, or refused it.

Whatever the moment, each mailbox is wholly Courier's or wholly Dovecot's; the mount serves all of them
as before; run again, the command finishes, and run once more it changes nothing.
"""

import os
from types import SimpleNamespace

import pytest

from servers.answers import Answers, ask_folder, ask_imap, ask_pop3, different_folder, nothing_in, same
from servers.conversion import Ctl
from servers.dovecot import Dovecot
from servers.faults import CHANGES, ERRORS, KILL, LOOKS, Faults
from servers.lab import STORES, as_mail_user
from servers.mount import Mount, suite_options
from servers.store import Builder, letter

pytestmark = [
    pytest.mark.skipif(bool(STORES), reason="faults are put below courierctl, not on NFS"),
    pytest.mark.skipif(bool(suite_options()), reason="courierctl takes no options of a mount"),
]

JAN = "jan@example.org"
FOLDERS = ("INBOX", "INBOX.Work", "INBOX.Work.Plan")
MARK = "courierfs-aside/courierimapuiddb"
LOCKS = ("courier.lock", "dovecot-uidlist.lock")
# The mount is asked in every such step, and in each one with COURIERFS_ALL_STEPS.
ASKED = 1 if os.environ.get("COURIERFS_ALL_STEPS") else 5


def ask(dovecot):
    """Answers of a Dovecot."""
    with dovecot.imap(JAN) as imap:
        folders, subscriptions = ask_imap(imap)
    with dovecot.pop3(JAN) as pop3:
        return Answers(folders, subscriptions, ask_pop3(pop3))


@pytest.fixture(scope="module", name="template")
def build_template(lab, courier):
    """One account: IMAP, POP3, keywords, rights, a pending update, mail in new/."""
    builder = Builder(lab, courier)
    builder.add_user(JAN)
    builder.deliver(JAN, count=4)
    builder.log_in_by_pop3(JAN)
    with builder.imap(JAN) as imap:
        imap.select("INBOX")
        imap.command("STORE 1 +FLAGS (\\Seen $Label1)")
        for number, folder in enumerate(FOLDERS[1:]):
            imap.command("CREATE", folder)
            imap.append(folder, letter(700 + number), "\\Seen Foo")
        imap.command("SETACL INBOX.Work bob lr")
        imap.command("SUBSCRIBE INBOX.Work")
        imap.select("INBOX")
        imap.command("STORE 2 +FLAGS (Pending)")
    builder.deliver(JAN)
    yield builder.store
    builder.store.discard()


@pytest.fixture(scope="module", name="converted")
def build_converted(lab, template):
    """The same, converted; some work was done since."""
    store = template.copy(lab)
    Ctl(lab, store).run("convert")
    dovecot = Dovecot(lab, store.path)
    dovecot.deliver(JAN, letter(800))
    with dovecot.imap(JAN) as imap:
        imap.append("INBOX.Work", letter(801), "New \\Flagged")
        imap.command("CREATE INBOX.Later")
        imap.select("INBOX")
        imap.command("STORE 3 +FLAGS ($Label1)")
    ask(dovecot)
    yield store
    store.discard()


class Trial:
    """Runs of one command, each on a fresh copy with a fault in it."""

    def __init__(self, lab, courier, origin, verb):
        self._lab = lab
        self._courier = courier
        self._origin = origin
        self._verb = verb
        copy = origin.copy(lab)
        with Mount(lab, copy.path) as mount:
            self.before = ask(Dovecot(lab, mount.point))
        copy.discard()
        self._ready()

    def _ready(self):
        self.store = self._origin.copy(self._lab)
        self.ctl = Ctl(self._lab, self.store)
        place = SimpleNamespace(store=self.store.path)
        self.faults = Faults(self._lab, place)
        self.ctl.environment = place.environment

    def again(self):
        """A fresh copy."""
        self.store.discard()
        self._ready()

    def count(self, kinds):
        """How many calls a run makes that nothing disturbs."""
        self.faults.count(kinds)
        self.ctl.run(self._verb)
        return self.faults.disarm()

    def run(self, step, action, kinds):
        """The run whose call number `step` fails; its exit status."""
        self.again()
        self.faults.arm(step, action=action, kinds=kinds)
        status = self._lab.run(self.ctl.command(self._verb), env=self.ctl.environment).returncode
        self.faults.disarm()
        return status

    def _copy(self):
        copy = self.store.copy(self._lab)
        # How long a dead process's lock counts is tested elsewhere.
        for name in LOCKS:
            for lock in copy.path.rglob(name):
                lock.unlink()
        return copy

    def problems(self, with_mount):
        """What is not as before: each mailbox, by the server that owns it; all, by the mount."""
        found = []
        copy = self._copy()
        with as_mail_user():
            (copy.maildir(JAN) / "loginexec").unlink(missing_ok=True)
        native = Dovecot(self._lab, copy.path)
        for name, before in self.before.folders.items():
            directory = copy.folder(JAN, name)
            if (directory / MARK).exists() or not (directory / "courierimapuiddb").exists():
                session = native.imap(JAN)
            else:
                session = self._courier.imap(copy.maildir(JAN))
            with session as imap:
                found += different_folder(name, before, ask_folder(imap, name))
        found += native.complaints()
        copy.discard()
        if with_mount:
            copy = self._copy()
            with Mount(self._lab, copy.path) as mount:
                dovecot = Dovecot(self._lab, mount.point)
                same(self.before, ask(dovecot), "through the mount")
                found += dovecot.complaints() + mount.unexpected_errors()
            copy.discard()
        return found

    def finish(self, owner):
        """Run again it finishes, and twice it changes nothing; everything is as before."""
        self.ctl.environment = {}
        self.ctl.run(self._verb)

        def look():
            # A lock and its unique file come and go in tmp.
            return sorted((p, p.lstat().st_ino, p.lstat().st_size, p.lstat().st_mtime_ns)
                          for p in self.store.path.rglob("*") if p.name != "tmp")

        first = look()
        self.ctl.run(self._verb)
        nothing_in([str(entry) for entry in set(look()) ^ set(first)], "the second run changed")
        copy = self._copy()
        after = owner(copy)
        copy.discard()
        for answers in (self.before, after):
            answers.pop3.sort()
        same(self.before, after, "finished")
        if self.faults.what.endswith(LOCKS):
            return []  # a lock that could not be removed, or not looked at, stays till others break it
        return [f"left behind: {path}" for name in LOCKS for path in self.store.path.rglob(name)]


def native_answers(lab):
    """Asks a Dovecot without us."""
    return lambda store: ask(Dovecot(lab, store.path))


def courier_answers(courier):
    """Asks Courier."""
    def ask_it(store):
        with courier.imap(store.maildir(JAN)) as imap:
            folders, subscriptions = ask_imap(imap)
        with courier.pop3(store.maildir(JAN)) as pop3:
            return Answers(folders, subscriptions, ask_pop3(pop3))

    return ask_it


def try_steps(trial, owner, kinds, actions, every):
    """Each `every`th call fails once; all that was found wrong, and how many runs were stopped."""
    count = trial.count(kinds)
    found, stopped = [], 0
    for step in range(1, count + 1, every):
        status = trial.run(step, actions[step % len(actions)], kinds)
        stopped += status != 0
        what = f"call {step} of {count}, {trial.faults.what}"
        found += [f"{what}: {text}" for text in trial.problems(step % ASKED == 0)]
        if step % ASKED == 1 % ASKED or every > 1:
            found += [f"{what}: {text}" for text in trial.finish(owner)]
    trial.store.discard()
    print(f"{count} calls, {stopped} runs stopped")
    return found, stopped


@pytest.mark.parametrize("verb", ["convert", "revert"])
def test_killed_at_every_change(lab, courier, template, converted, verb):
    """Right before each call that changes the store."""
    trial = Trial(lab, courier, template if verb == "convert" else converted, verb)
    owner = native_answers(lab) if verb == "convert" else courier_answers(courier)
    found, stopped = try_steps(trial, owner, CHANGES, [KILL], 1)
    nothing_in(found, f"{verb} was killed")
    assert stopped > 20


@pytest.mark.parametrize("verb", ["convert", "revert"])
@pytest.mark.parametrize("kinds", [CHANGES, LOOKS], ids=["change", "look"])
def test_a_call_fails(lab, courier, template, converted, verb, kinds):
    """The disk is full, or broken, for one call."""
    trial = Trial(lab, courier, template if verb == "convert" else converted, verb)
    owner = native_answers(lab) if verb == "convert" else courier_answers(courier)
    found, stopped = try_steps(trial, owner, kinds, ERRORS, 3 if kinds == CHANGES else 11)
    nothing_in(found, f"a call of {verb} failed")
    assert stopped > 5


