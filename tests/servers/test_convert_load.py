"""`courierctl convert` and `revert` while two nodes serve the mailboxes, and mail keeps coming.

Connected sessions go on: a UID that one of them saw names the same message in every later answer, no
acknowledged change is lost, and neither Dovecot nor a daemon complains.
"""

import contextlib
import random
import threading

from servers.answers import nothing_in, same
from servers.conversion import Ctl
from servers.dovecot import Dovecot
from servers.lab import wait_until
from servers.mount import Mount
from servers.store import ANN, BOB, CEM
from servers.test_convert import ask
from servers.together import named, seed, stopping, words_by_uid, word_of

FOLDER = {ANN: "INBOX.Sent", BOB: "INBOX.Work", CEM: "INBOX"}


class Worker:
    """A client that stays connected to one node and works in one mailbox."""

    def __init__(self, dovecot, user, number):
        self._dovecot = dovecot
        self.user = user
        self._dice = random.Random(number)
        self._number = number
        self.made = {}  # UID: word, of what it appended; the server said so
        self.flags = {}  # UID: whether \\Flagged is set; the server said so
        self.rounds = 0
        self.wrong = []

    def run(self, stop):
        """Works until `stop`."""
        try:
            with self._dovecot.imap(self.user) as imap:
                imap.select(FOLDER[self.user])
                while not stop.is_set():
                    self._once(imap)
                    self.rounds += 1
        except Exception as error:  # pylint: disable=broad-except
            self.wrong.append(f"{self.user}: {error!r}")

    def _once(self, imap):
        word = f"word{self._number}{self.rounds:04}"
        reply = imap.append(FOLDER[self.user], named(word))
        uid = int(reply.code("APPENDUID").split()[1])
        self.made[uid] = word
        imap.command("NOOP")
        for known in self._dice.sample(sorted(self.made), min(3, len(self.made))):
            sign = self._dice.choice("+-")
            imap.command("UID STORE", known, f"{sign}FLAGS.SILENT (\\Flagged)")
            self.flags[known] = sign == "+"
        shown = words_of(imap, self.made)
        if shown != self.made:
            self.wrong.append(f"{self.user}: {shown} is not {self.made}")
        if self._dice.random() < 0.5:
            self._dovecot.deliver(self.user, named(f"mail{self._number}{self.rounds:04}"),
                                  FOLDER[self.user])


def words_of(imap, uids):
    """{UID: word} of these messages."""
    found = {}
    uids = ",".join(map(str, uids))
    for item in imap.command(f"UID FETCH {uids} (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])").fetched():
        for name, value in item.items():
            if name.startswith("BODY["):
                found[int(item["UID"])] = word_of(value)
    return found


def test_with_sessions_on_two_nodes(lab, store):
    """There and back, twice, with six sessions at work."""
    number = seed()
    print(f"COURIERFS_SEED={number}")
    ctl = Ctl(lab, store)
    with contextlib.ExitStack() as stack:
        mounts = [stack.enter_context(Mount(lab, store.path)) for _ in range(2)]
        dovecots = [Dovecot(lab, mount.point) for mount in mounts]
        workers = [Worker(dovecot, user, 10 * n + m + number % 7)
                   for n, dovecot in enumerate(dovecots) for m, user in enumerate(FOLDER)]
        stop = threading.Event()
        threads = [threading.Thread(target=worker.run, args=(stop,)) for worker in workers]
        with stopping(threads, stop):
            for verb in ("convert", "revert", "convert"):
                before = [worker.rounds for worker in workers]
                wait_until(lambda: all(w.wrong or w.rounds > b + 2 for w, b in zip(workers, before)),
                           "everybody works")
                ctl.run(verb, "--rate", "20")
        nothing_in([text for worker in workers for text in worker.wrong], "a session saw")
        for worker in workers:
            _check(worker, dovecots)
        last = {user: ask(dovecots[0], user) for user in FOLDER}
        for user, answers in last.items():
            same(answers, ask(dovecots[1], user), f"{user} on the other node")
        for dovecot, mount in zip(dovecots, mounts):
            nothing_in(dovecot.complaints(), "Dovecot complained")
            nothing_in(mount.unexpected_errors(), "the daemon complained")
    native = Dovecot(lab, store.path)
    for user, answers in last.items():
        same(answers, ask(native, user), f"{user} natively")
    print(f"{sum(worker.rounds for worker in workers)} rounds of {len(workers)} sessions")


def _check(worker, dovecots):
    for dovecot in dovecots:
        with dovecot.imap(worker.user) as imap:
            imap.select(FOLDER[worker.user])
            words = words_by_uid(imap)
            assert {uid: words.get(uid) for uid in worker.made} == worker.made
            flags = imap.flags()
            assert {uid: "\\Flagged" in flags[uid] for uid in worker.flags} == worker.flags
