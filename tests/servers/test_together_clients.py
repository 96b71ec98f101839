"""Real clients with a memory, switched at random between Courier and Dovecot on two nodes.

mbsync keeps a copy of the mail on disk; a POP3 client leaves mail on the server and keeps the
UIDLs it has seen. While they work, mail arrives, flags and keywords change, and messages are
deleted and moved, through either server; and a node loses its state directory or its indexes now
and then. Neither may fetch a message twice or miss one.

COURIERFS_ROUNDS makes it longer, COURIERFS_SEED replays one.
"""

import os
import random

import pytest

from servers.imap import Refused
from servers.lab import MAIL_GID, MAIL_UID
from servers.site import Site
from servers.test_mail_client import SETTINGS
from servers.together import (
    MIA, add_user, deliver_named, named, rounds, seed, word_of, words_by_uid)

pytestmark = pytest.mark.any_layout

FOLDERS = ["INBOX", "INBOX.Sent", "INBOX.Work", "INBOX.Work.Plan"]
FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "$Label1", "Later", "Junk"]
COURIER, HERE, THERE = "Courier", "Dovecot", "Dovecot on the other node"
SERVERS = [COURIER, HERE, THERE]
AT_FIRST = 20


class World:
    """The mail there is, and what is done to it by sessions of any server."""

    def __init__(self, site, node, dice):
        self._site = site
        self._nodes = [site, node]
        self._dovecot = {HERE: site.dovecot, THERE: node.dovecot}
        self._dice = dice
        self._made = 0
        self.maildir = add_user(site, MIA, FOLDERS[1:])
        # Where a word is now, and where it ever was: it is never moved to where it was.
        self.place = {}
        self._was_in = {}
        self._uids = {}
        self.losses = 0

    def imap(self, server):
        """A session with one of the servers."""
        if server == COURIER:
            return self._site.courier.imap(self.maildir)
        return self._dovecot[server].imap(MIA)

    def pop3(self, server):
        """A POP3 session with one of the servers."""
        if server == COURIER:
            return self._site.courier.pop3(self.maildir)
        return self._dovecot[server].pop3(MIA)

    def tunnel(self, server):
        """A command line for mbsync."""
        if server == COURIER:
            return self._site.courier.tunnel(self.maildir)
        return self._dovecot[server].tunnel(MIA)

    def _new_word(self, folder):
        self._made += 1
        word = f"word{self._made}"
        self._settle(word, folder)
        return word

    def _settle(self, word, folder):
        self.place[word] = folder
        self._was_in.setdefault(word, set()).add(folder)

    def deliver(self):
        """A message arrives in some way."""
        folder = self._dice.choice(FOLDERS)
        word = self._new_word(folder)
        way = self._dice.randrange(3)
        if way == 0:
            deliver_named(self._site, MIA, word, folder)
        elif way == 1:
            node = self._dice.choice([HERE, THERE])
            self._dovecot[node].deliver(MIA, named(word), folder)
        else:
            with self.imap(self._dice.choice(SERVERS)) as imap:
                imap.append(folder, named(word), self._dice.choice(FLAGS))

    def change(self):
        """A session changes flags, deletes, or moves."""
        folder = self._dice.choice(FOLDERS)
        with self.imap(self._dice.choice(SERVERS)) as imap:
            validity = imap.select(folder).code("UIDVALIDITY")
            words = words_by_uid(imap)
            for uid, word in words.items():
                former = self._uids.setdefault((folder, validity, uid), word)
                assert former == word, f"{folder} {uid} was {former} and is {word}"
            assert set(words.values()) == self.words(folder)
            if not words:
                return
            uid = self._dice.choice(sorted(words))
            way = self._dice.randrange(8)
            if way == 0:
                imap.command("UID STORE", uid, "+FLAGS (\\Deleted)")
                imap.command("EXPUNGE")
                del self.place[words[uid]]
            elif way == 1:
                self._move(imap, uid, words[uid])
            else:
                chosen = self._dice.sample(sorted(words), self._dice.randint(1, len(words)))
                imap.command("UID STORE", ",".join(map(str, chosen)),
                             self._dice.choice("+-") + f"FLAGS ({self._dice.choice(FLAGS)})")

    def _move(self, imap, uid, word):
        targets = sorted(set(FOLDERS) - self._was_in[word])
        if not targets:
            return
        target = self._dice.choice(targets)
        # Courier 5.0 refuses UID MOVE.
        if imap.command("UID MOVE", uid, f'"{target}"', expect=None).status != "OK":
            imap.command("UID COPY", uid, f'"{target}"')
            imap.command("UID STORE", uid, "+FLAGS (\\Deleted)")
            imap.command("EXPUNGE")
        self._settle(word, target)

    def words(self, folder):
        """The words that are in a folder now."""
        return {word for word, place in self.place.items() if place == folder}

    def lose_something(self):
        """A node may lose its state directory or its indexes; nobody is there meanwhile."""
        way = self._dice.randrange(8)
        if way > 1:
            return
        node = self._dice.choice(self._nodes)
        if way == 0:
            node.mount.remount(forget=True)
        else:
            node.dovecot.forget_index()
        self.losses += 1

    def anything(self):
        """One thing that happens."""
        self._dice.choice([self.deliver, self.deliver, self.change, self.change, self.change])()


class MailClient:
    """mbsync; counts the files it wrote."""

    def __init__(self, lab):
        self._lab = lab
        self.home = lab.new_directory("client", owned_by_mail_user=True)
        self.local = self.home / "mail"
        os.mkdir(self.local)
        os.chown(self.local, MAIL_UID, MAIL_GID)
        self._seen = set()
        self.fetched = {}

    def start(self, tunnel):
        """Starts one run."""
        settings = self.home / "mbsyncrc"
        settings.write_text(SETTINGS.format(tunnel=tunnel, local=self.local))
        with open(self.home / "errors", "wb") as errors:
            return self._lab.spawn(
                ["mbsync", "-c", settings, "all"], user=MAIL_UID, group=MAIL_GID,
                extra_groups=[], cwd=self.home, stdout=errors, stderr=errors,
                env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"})

    def finish(self, process):
        """Waits for a run, and counts what it fetched."""
        status = self._lab.end(process, 60)
        assert status == 0, (self.home / "errors").read_text(errors="replace")
        for path in self._files():
            inode = path.stat().st_ino
            if inode not in self._seen:
                self._seen.add(inode)
                message = (self._folder(path), word_of(path.read_bytes()))
                self.fetched[message] = self.fetched.get(message, 0) + 1

    def _files(self):
        return [path for part in ("cur", "new") for path in self.local.rglob(f"{part}/*")]

    def _folder(self, path):
        # mbsync takes the namespace's prefix off.
        name = str(path.parent.parent.relative_to(self.local)).replace("/", ".")
        return name if name == "INBOX" else f"INBOX.{name}"

    def has(self):
        """{(folder, word)} of the copy on disk, flags and trash apart."""
        return {(self._folder(path), word_of(path.read_bytes())) for path in self._files()}


class Pop3Client:
    """Fetches what it has not seen, and leaves it on the server."""

    def __init__(self):
        self.seen = {}
        self.fetched = {}

    def visit(self, pop3, between=lambda: None):
        """One session; `between` is called while it is open. The words on the server."""
        with pop3:
            uidls = pop3.uidls()
            assert len(set(uidls)) == len(uidls)
            between()
            for number, uidl in enumerate(uidls, start=1):
                if uidl in self.seen:
                    continue
                try:
                    word = word_of(pop3.retr(number))
                except Refused:
                    continue  # deleted or renamed since the login: it comes next time
                self.seen[uidl] = word
                self.fetched[word] = self.fetched.get(word, 0) + 1
        return {self.seen.get(uidl) for uidl in uidls}


def twice(fetched):
    """The messages that were fetched more than once."""
    return {message: count for message, count in fetched.items() if count > 1}


def test_clients_that_are_switched_fetch_nothing_twice(site, lab, courier, record_property):
    """Every message is fetched once by each client, none is lost, none comes back."""
    number = seed()
    print(f"COURIERFS_SEED={number}")
    dice = random.Random(number)
    count = rounds(14)
    with Site(lab, courier, site.store) as node:
        world = World(site, node, dice)
        for _ in range(AT_FIRST):
            world.deliver()
        reader, collector = MailClient(lab), Pop3Client()
        syncs = visits = 0
        for turn in range(count):
            world.lose_something()
            server = dice.choice(SERVERS)
            running = reader.start(world.tunnel(server))
            for _ in range(dice.randint(1, 3)):
                world.anything()
            reader.finish(running)
            collector.visit(world.pop3(dice.choice(SERVERS)), between=world.anything)
            syncs, visits = syncs + 1, visits + 1
            assert not twice(reader.fetched), f"round {turn}, mbsync on {server}"
            assert not twice(collector.fetched), f"round {turn}"
            if turn % 4 == 3 or turn == count - 1:
                syncs, visits = syncs + 2, visits + 1
                # What one of two sides deletes while mbsync runs is settled by the next run.
                for _ in range(2):
                    reader.finish(reader.start(world.tunnel(dice.choice(SERVERS))))
                assert reader.has() == {(folder, word) for word, folder in world.place.items()}
                assert collector.visit(world.pop3(dice.choice(SERVERS))) == world.words("INBOX")
                assert not twice(reader.fetched) and not twice(collector.fetched)
        text = (f"{count} rounds, {world.losses} times a state directory or indexes lost: mbsync "
                f"{syncs} runs, {len(reader.fetched)} messages fetched; "
                f"POP3 {visits} sessions, {len(collector.fetched)} fetched; twice: 0, lost: 0")
        print(text)
        record_property("clients", text)
        site.agree(MIA)
