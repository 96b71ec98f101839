"""mbsync and a POP3 client that leaves mail on the server, through a whole migration.

Courier; Dovecot on the mount; while `convert` runs; afterwards, the mount still there; Dovecot alone;
then `revert`, and Courier again. At each step mail arrives and changes. Neither client fetches a
message twice or misses one, and each server shows what the one before it showed.
"""

import random
from types import SimpleNamespace

from servers.answers import Answers, ask_imap, ask_pop3, nothing_in, same
from servers.conversion import Ctl
from servers.dovecot import Dovecot
from servers.mount import Mount
from servers.test_together_clients import FOLDERS, MailClient, Pop3Client, World, twice
from servers.together import MIA, deliver_named, named, seed

AT_FIRST = 12
CHANGES = 6


class Migration(World):
    """The mail there is, on whichever server serves it now."""

    def __init__(self, site, dice):
        super().__init__(site, site, dice)
        self.server = None  # has imap(), pop3() and tunnel()

    def imap(self, server=None):
        return self.server.imap()

    def pop3(self, server=None):
        return self.server.pop3()

    def tunnel(self, server=None):
        return self.server.tunnel()

    def deliver(self):
        folder = self._dice.choice(FOLDERS)
        word = self._new_word(folder)
        way = self._dice.randrange(3)
        if way == 0:
            deliver_named(self._site, MIA, word, folder)
        elif way == 1 and self.server.lda:
            self.server.lda(named(word), folder)
        else:
            with self.imap() as imap:
                imap.append(folder, named(word), self._dice.choice(["\\Seen", "Later", ""]))

    def ask(self):
        """Answers of the server."""
        with self.imap() as imap:
            folders, subscriptions = ask_imap(imap)
        with self.pop3() as pop3:
            return Answers(folders, subscriptions, ask_pop3(pop3))


def courier_server(courier, maildir):
    """Courier on the store."""
    return SimpleNamespace(imap=lambda: courier.imap(maildir), pop3=lambda: courier.pop3(maildir),
                           tunnel=lambda: courier.tunnel(maildir), lda=None)


def dovecot_server(dovecot):
    """A Dovecot, on the mount or without."""
    return SimpleNamespace(
        imap=lambda: dovecot.imap(MIA), pop3=lambda: dovecot.pop3(MIA),
        tunnel=lambda: dovecot.tunnel(MIA),
        lda=lambda message, folder: dovecot.deliver(MIA, message, folder))


class Clients:
    """Both clients, and what they must have."""

    def __init__(self, lab, world):
        self._world = world
        self.reader, self.collector = MailClient(lab), Pop3Client()

    def work(self, step, meanwhile=lambda: None):
        """Mail changes while they are connected; then they have all of it, each message once."""
        world = self._world
        running = self.reader.start(world.tunnel())
        meanwhile()
        for _ in range(CHANGES):
            world.anything()
        self.reader.finish(running)
        self.collector.visit(world.pop3(), between=world.anything)
        # What one of two sides deletes while mbsync runs is settled by the next run.
        for _ in range(2):
            self.reader.finish(self.reader.start(world.tunnel()))
        assert self.reader.has() == {(folder, word) for word, folder in world.place.items()}, step
        assert self.collector.visit(world.pop3()) == world.words("INBOX"), step
        assert not twice(self.reader.fetched), step
        assert not twice(self.collector.fetched), step


def test_nothing_is_fetched_twice(lab, courier, store):
    """From Courier to Dovecot alone, and back."""
    number = seed()
    print(f"COURIERFS_SEED={number}")
    dice = random.Random(number)
    ctl = Ctl(lab, store)
    world = Migration(SimpleNamespace(store=store, courier=courier, dovecot=None), dice)
    clients = Clients(lab, world)
    alone = courier_server(courier, world.maildir)
    world.server = alone
    for _ in range(AT_FIRST):
        world.deliver()
    with world.imap() as imap:
        imap.command('SUBSCRIBE "INBOX.Work"')
        imap.command('SUBSCRIBE "INBOX.Sent"')
    clients.work("Courier")
    before = world.ask()
    with Mount(lab, store.path) as mount:
        dovecot = Dovecot(lab, mount.point)
        world.server = dovecot_server(dovecot)
        same(before, world.ask(), "Dovecot on the mount")
        clients.work("the mount")

        # The mailboxes are converted one after the other while both are connected.
        def convert():
            running.append(lab.spawn(ctl.command("convert", "--rate", "4", "example.*/mia")))

        running = []
        clients.work("while it is converted", convert)
        assert lab.end(running[0]) == 0
        before = world.ask()
        ctl.run("convert")
        same(before, world.ask(), "converted, on the mount")
        clients.work("converted, on the mount")
        before = world.ask()
        nothing_in(dovecot.complaints() + mount.unexpected_errors(), "somebody complained")
    native = Dovecot(lab, store.path)
    world.server = dovecot_server(native)
    same(before, world.ask(), "Dovecot alone")
    clients.work("Dovecot alone")
    before = world.ask()
    nothing_in(native.complaints(), "native Dovecot complained")
    ctl.run("revert")
    world.server = alone
    after = world.ask()
    for answers in (before, after):
        answers.pop3.sort()  # new mail of one second has Courier's order now
    same(before, after, "Courier again")
    clients.work("Courier again")
    print(f"mbsync fetched {len(clients.reader.fetched)} messages, "
          f"POP3 {len(clients.collector.fetched)}; twice: 0, lost: 0")
