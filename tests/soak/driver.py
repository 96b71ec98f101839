"""Drives real sessions of all four servers, deliveries and faults on one store.

Each worker is a thread that opens one session after the other, of a server picked by chance:
Courier on the store, or Dovecot on one of the mounts, each with its own state and index
directories as on hosts of their own. What a worker does is decided by its own generator,
seeded; how the workers interleave is up to the machine.
"""

import collections
import contextlib
import os
import re
import subprocess
import threading
import time

from servers.hosts import Host
from servers.lab import MAIL_GID, MAIL_UID, Lab
from servers.mount import COURIERFS
from servers.site import strange_things
from servers.store import ANN, Store
from soak import quota
from soak.book import Book, Page
from soak.deeds import BOUND
from soak.faults import Faults
from soak.history import FolderListing, Letters, Oddity, Put, Refusal
from soak.places import Elsewhere, Here, Node
from soak.sessions import LARGE, Ended, ImapSession, PopSession
from soak.witness import Witness

MAILBOXES = ["INBOX", "INBOX.Work", "INBOX.Lists"]
FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "\\Draft"]
KEYWORDS = ["$Label1", "$Forwarded", "Junk", "Later", "NonJunk"]
# Mailboxes are kept between these sizes, so that sessions meet on the same messages.
FEW, MORE = 8, 16
# What Dovecot says of a mount whose daemon was killed, and of the bare mount point.
DEAD_MOUNT = ("Transport endpoint is not connected", "Software caused connection abort",
              "Permission denied")
# Longer than any server waits for a lock whose holder died, on another host.
PATIENCE = 150


class Soak:
    """One run; `history` is what came of it."""

    def __init__(self, seed, mounts=2, options=(), workers=4, faults=True, messages=FEW,
                 daemon=COURIERFS, hosts=False):
        self.book = Book(seed)
        self.few, self.many = messages, messages + MORE
        self.workers = workers
        self.with_faults = faults
        # Where Dovecot reads mail in the store, keywords are no common ground.
        self.keywords = [] if "control" in options else KEYWORDS
        self.lab = Lab()
        self.places = [Here(self.lab)]
        self._hosts = contextlib.ExitStack()
        self.courier = self.places[0].courier
        self.store = Store(self.lab.new_directory("store", owned_by_mail_user=True))
        self.maildir = self.store.maildir(ANN)
        self.witness = Witness(self.lab, self.maildir, self.book.record)
        if hosts:
            self.places += [Elsewhere(self._hosts.enter_context(Host(self.lab, f"soak{n + 1}")))
                            for n in range(mounts)]
        self.nodes = [Node(self.places[n + 1 if hosts else 0], self.store, n + 1, options, daemon,
                           self.witness.environment(), self.book.record)
                      for n in range(mounts)]
        self._recorded = self.witness.environment(["libnss_wrapper.so"]) | quota.COURIER
        self.problems = collections.Counter()
        self._deadline = 0
        self._failed = []

    @property
    def history(self):
        """Everything that was recorded, by time."""
        return sorted(self.book.history, key=lambda record: record.start)

    def run(self, seconds):
        """Everything from an empty store to the last quiet check."""
        page = Page(self.book, "setup")
        self._set_up(page)
        self.witness.start()
        for node in self.nodes:
            node.start()
        self._deadline = time.monotonic() + seconds
        threads = [threading.Thread(target=self._worker, args=(number,), name=f"worker{number}")
                   for number in range(self.workers)]
        if self.with_faults:
            threads.append(Faults(Page(self.book, "faults"), self, self._deadline))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failed:
            raise self._failed[0]
        self._last_look(page)
        with contextlib.suppress(Ended):
            quota.QuotaCheck(page, self).run()
        self.witness.end()
        self._look_around()

    def close(self):
        """Ends everything that runs and deletes the laboratory."""
        self._hosts.close()
        self.lab.close()

    # ---- beginning and end ------------------------------------------------------------------

    def _set_up(self, page):
        domain = self.store.path / "example.org"
        domain.mkdir()
        os.chown(domain, MAIL_UID, MAIL_GID)
        self.courier.make_maildir(self.maildir)
        for _ in range(self.few):
            self._deliver_as_exim(page, "INBOX")
        session = self.imap(page, None)
        for mailbox in MAILBOXES[1:]:
            session.folder("create", mailbox)
            for _ in range(self.few // 2):
                if self.few > LARGE:
                    self._deliver_as_exim(page, mailbox)
                else:
                    session.append(mailbox, page.new_letter(page.rng, mailbox), ["\\Seen"])
        session.select("INBOX")
        session.close(politely=True)
        self.pop3(page, None).leave([], politely=True)

    def _last_look(self, page):
        """Twice through all servers, with nobody else about; the second time they must agree."""
        for quiet in (False, True):
            time.sleep(BOUND + 0.5)
            for node in (None, *self.nodes):
                for look in (self._last_imap, self._last_pop3):
                    with contextlib.suppress(Ended):  # which is in the history as a refusal
                        look(page, node, quiet)

    def _last_imap(self, page, node, quiet):
        session = self.imap(page, node)
        session.folders(quiet)
        for mailbox in self.mailboxes():
            session.select(mailbox, quiet=quiet, bodies=1.0)
        session.close(politely=True)

    def _last_pop3(self, page, node, quiet):
        session = self.pop3(page, node)
        session.look(quiet)
        session.leave([], politely=True)

    def mailboxes(self):
        """The mailboxes that the last listing had."""
        return next(r.names for r in reversed(self.book.history) if isinstance(r, FolderListing))

    def _look_around(self):
        for node in self.nodes:
            if node.mount.process.poll() is not None:
                self._odd(node.name, "courierfs ended by itself")
            node.mount.stop()
            logged = node.mount.unexpected_errors() + node.mount.log_lines("warning")
            for line in logged:
                self.problems["courierfs: " + plain(line)] += 1
                self._odd(node.name, "courierfs: " + line)
            for line in node.dovecot.complaints():
                self.problems["Dovecot: " + plain(line)] += 1
                if not self.with_faults or not any(words in line for words in DEAD_MOUNT):
                    self._odd(node.name, "Dovecot: " + line)
        for mailbox in self.mailboxes():
            self._note_letters(mailbox)
        for text in strange_things(self.store):
            self._odd("store", text)

    def _note_letters(self, mailbox):
        path = self.store.folder(ANN, mailbox) / "courierfs-keywords"
        if path.exists():
            lines = (line.split(" ", 1) for line in path.read_text(encoding="utf-8").splitlines())
            now = time.monotonic()
            self.book.record(Letters(now, now, "store", mailbox, {
                chr(ord("a") + int(number)): name for number, name in lines}))

    def _odd(self, where, text):
        now = time.monotonic()
        self.book.record(Oddity(now, now, where, text))

    # ---- sessions ---------------------------------------------------------------------------

    def imap(self, page, node):
        """A session with Courier (node None), on some host, or with Dovecot on a node."""
        place = node.place if node else page.rng.choice(self.places)

        def connect():
            client = (node.dovecot.imap(ANN, **node.settings()) if node
                      else place.courier.imap(self.maildir, **self._recorded))
            client.connection.socket.settimeout(PATIENCE)
            return client

        return ImapSession(page.next_session(self.name_of("imap", node)), connect, page, place)

    def pop3(self, page, node):
        """Likewise."""
        place = node.place if node else page.rng.choice(self.places)

        def connect():
            client = (node.dovecot.pop3(ANN, **node.settings()) if node
                      else place.courier.pop3(self.maildir, **self._recorded))
            client.connection.socket.settimeout(PATIENCE)
            return client

        return PopSession(page.next_session(self.name_of("pop3", node)), connect, page, place)

    @staticmethod
    def name_of(protocol, node):
        """Who a session is, without its number."""
        return f"courier-{protocol}@store" if node is None else f"dovecot-{protocol}@{node.name}"

    def _some_server(self, page):
        """None for Courier, or a node; seldom one whose mount is down."""
        node = None if page.chance(0.4) else page.rng.choice(self.nodes)
        if node is not None and not node.is_up and not page.chance(0.05):
            return None
        return node

    # ---- workers ----------------------------------------------------------------------------

    def _worker(self, number):
        page = Page(self.book, f"worker{number}")
        try:
            while time.monotonic() < self._deadline:
                try:
                    self._work(page, with_folders=number == 0)
                except Ended:
                    time.sleep(0.05)
        except BaseException as error:  # pylint: disable=broad-exception-caught
            self._failed.append(error)
            self._deadline = 0

    def _work(self, page, with_folders):
        kind = page.rng.choices(["imap", "pop3", "deliver", "folders"],
                                [66, 18, 12, 4 if with_folders else 0])[0]
        if kind == "imap":
            self._imap_visit(page)
        elif kind == "pop3":
            self._pop3_visit(page)
        elif kind == "deliver":
            for _ in range(page.rng.randint(1, 4)):
                self._deliver(page)
        else:
            self._folder_story(page)

    def _imap_visit(self, page):
        session = self.imap(page, self._some_server(page))
        try:
            session.select(page.rng.choice(MAILBOXES + ["INBOX"]), bodies=0.2,
                           read_only=page.chance(0.1))
            for _ in range(page.rng.choice([3, 8, 14, 40])):
                if time.monotonic() > self._deadline:
                    break
                self._imap_step(page, session)
                time.sleep(page.rng.choice([0, 0, 0, 0.02, 0.2]))
        finally:
            session.close(politely=page.chance(0.8))

    def _imap_step(self, page, session):
        rng = page.rng
        uids = sorted(session.messages)
        size = session.count
        steps = {"noop": 24, "flags": 20, "keywords": 14, "append": 8, "copy": 5, "move": 4,
                 "expunge": 5 if size <= self.many else 40, "select": 12, "status": 5}
        if size < self.few:
            steps["append"] = 30
        if session.mailbox is None or session.read_only or not uids:
            for step in ("flags", "keywords", "expunge", "copy", "move"):
                del steps[step]
        elif not self.keywords:
            del steps["keywords"]
        if session.mailbox is None:
            del steps["noop"]
        step = rng.choices(list(steps), list(steps.values()))[0]
        others = [m for m in MAILBOXES if m != session.mailbox]
        if step == "noop":
            session.noop(bodies=0.15)
        elif step == "select":
            session.select(rng.choice(MAILBOXES + ["INBOX"]), bodies=0.15,
                           read_only=page.chance(0.12))
        elif step == "status":
            session.status(rng.choice(others))
        elif step in ("flags", "keywords"):
            words = rng.sample(FLAGS if step == "flags" else self.keywords, rng.randint(1, 2))
            kept = {"add": words} if page.chance(0.6) else {"remove": words}
            session.change(rng.choice(uids), **kept)
        elif step == "append":
            mailbox = rng.choice(MAILBOXES)
            flags = rng.sample(FLAGS + self.keywords, rng.randint(0, 3))
            session.append(mailbox, page.new_letter(rng, mailbox), flags)
        elif step == "expunge":
            session.expunge(rng.sample(uids, max(1, len(uids) // 4)))
            if session.messages:
                session.noop()
        else:
            live = [u for u in uids if "\\Deleted" not in (session.messages[u].flags or [])]
            chosen = rng.sample(live, min(len(live), rng.randint(1, 3)))
            session.copy(chosen, rng.choice(others),
                         move=step == "move" and session.program.startswith("dovecot"))

    def _pop3_visit(self, page):
        session = self.pop3(page, self._some_server(page))
        delete, politely = [], page.chance(0.85)
        try:
            session.look(bodies=0.3)
            count = len(session.messages)
            time.sleep(page.rng.choice([0, 0, 0.1, 0.5]))
            seen = [n for n, message in enumerate(session.messages) if message.token]
            if seen:
                for _ in range(page.rng.randint(0, 3)):
                    session.retrieve(page.rng.choice(seen))
                if count > self.many or page.chance(0.2):
                    delete = page.rng.sample(seen, max(1, len(seen) // 5))
        except Ended:
            politely = False
            raise
        finally:
            session.leave(delete, politely)

    # ---- deliveries -------------------------------------------------------------------------

    def _deliver(self, page):
        mailbox = page.rng.choice(MAILBOXES + ["INBOX", "INBOX"])
        how = page.rng.choices(["exim", "quota", "lda"], [6, 2, 3])[0]
        up = [node for node in self.nodes if node.is_up]
        if how == "exim" or (how == "lda" and not up):
            self._deliver_as_exim(page, mailbox)
        elif how == "quota":
            self._deliver_with_quota(page)
        else:
            self._deliver_by_lda(page, mailbox, page.rng.choice(up))

    def deliveries(self, page):
        """One delivery to INBOX of each kind, to be called."""
        return [lambda: self._deliver_as_exim(page, "INBOX"),
                lambda: self._deliver_with_quota(page),
                *(lambda node=node: self._deliver_by_lda(page, "INBOX", node)
                  for node in self.nodes)]

    def _deliver_with_quota(self, page):
        self._deliver_by(page, "INBOX", "delivery-quota@store",
                             lambda data: self.courier.deliver_with_quota(
                                 self.maildir, data, quota.COURIER["MAILDIRQUOTA"]))

    def _deliver_by_lda(self, page, mailbox, node):
        self._deliver_by(page, mailbox, f"dovecot-lda@{node.name}",
                         lambda data: node.dovecot.deliver(ANN, data, mailbox, **node.settings()))

    def _deliver_as_exim(self, page, mailbox):
        """Written in tmp/, renamed to new/. Not by servers.courier.deliver: that one changes
        the ids of the whole process for a moment, which threads cannot share."""
        folder = self.store.folder(ANN, mailbox)
        letter = page.new_letter(page.rng, mailbox)
        start = time.monotonic()
        now = time.time_ns()
        name = (f"{now // 10**9}.H{now // 1000 % 10**6}P{os.getpid()}Q{letter.token}"
                f".mx.example.org,S={len(letter.data)}")
        draft = folder / "tmp" / name
        draft.write_bytes(letter.data)
        draft.chmod(0o600)
        os.chown(draft, MAIL_UID, MAIL_GID)
        draft.rename(folder / "new" / name)
        quota.note_delivery(self.maildir, len(letter.data))
        page.record(Put(start, time.monotonic(), "delivery-exim@store", "deliver", mailbox,
                        letter.token, letter.digest, [], True))
        page.took("delivery", "exim", time.monotonic() - start)

    def _deliver_by(self, page, mailbox, by, deliver):
        letter = page.new_letter(page.rng, mailbox)
        start = time.monotonic()
        done = False
        try:
            deliver(letter.data)
            done = True
        except RuntimeError as error:
            page.record(Refusal(start, time.monotonic(), by, "deliver", plain(str(error))))
        except subprocess.TimeoutExpired:
            page.record(Refusal(start, time.monotonic(), by, "stuck", "a delivery never ended"))
        page.record(Put(start, time.monotonic(), by, "deliver", mailbox, letter.token,
                        letter.digest, [], done))
        page.took(by.partition("@")[0], "deliver", time.monotonic() - start)

    # ---- folders ----------------------------------------------------------------------------

    def _folder_story(self, page):
        """The life of a folder, each act in a session of its own with a server by chance."""
        self.book.operations["story", "folders"] += 1
        first = f"INBOX.Scratch{self.book.operations['story', 'folders']}"
        second = first + "-new"

        def act(play):
            session = self.imap(page, self._some_server(page))
            try:
                play(session)
                session.folders()
            finally:
                session.close(politely=page.chance(0.9))

        letters = [page.new_letter(page.rng, first) for _ in range(3)]
        act(lambda s: s.folder("create", first))
        act(lambda s: s.folder("subscribe", first))
        for letter in letters:
            act(lambda s, letter=letter: s.append(first, letter, ["\\Flagged"]))
        for _ in range(3):
            act(lambda s: s.select(first, bodies=0.5))
        act(lambda s: self._rename(page, s, first, second, letters))
        for _ in range(4):
            act(lambda s: s.select(second, bodies=0.5))
        act(lambda s: s.folder("unsubscribe", first))
        if page.chance(0.7):
            act(lambda s: s.folder("delete", second))

    def _rename(self, page, session, first, second, letters):
        known = {r.token: r for r in self.book.history
                 if isinstance(r, Put) and r.mailbox == first}
        start, done = time.monotonic(), False
        try:
            done = session.folder("rename", first, second)
        finally:
            for letter in letters:
                sure = done and letter.token in known and known[letter.token].acknowledged
                page.record(Put(start, time.monotonic(), session.by, "rename", second,
                                letter.token, letter.digest, None, sure))


def plain(text):
    """A log line without what differs from case to case."""
    text = re.sub(r"^(\w+)\([^)]*\)(<[^>]*>)+", r"\1", text)
    text = re.sub(r"/tmp/courierfs\.\w+", "", text)
    text = re.sub(r"s\d+n\d+|[0-9a-f]{8,}|\d+", "#", text)
    return text[:200]
