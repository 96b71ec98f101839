"""Many clients at once."""

import socket
import threading
import time
from contextlib import ExitStack

from bench.figures import Figures
from bench.sides import ControlFiles, Courierfs, Native, PassThrough, WithoutCache
from bench.stores import Shape, make_store, user_name
from bench.wire import Wire

CLIENTS = 2  # POP3 clients at a time: as many as the machine has processors


class _Tcp:
    """A connection to a port, as Wire wants it."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)

    def close(self):
        """Closes it."""
        self.socket.close()


def in_threads(count, work):
    """Runs work(0) to work(count - 1) at the same time; seconds. What one of them raises is raised."""
    failed = []

    def run(number):
        try:
            work(number)
        except Exception as error:  # pylint: disable=broad-except
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return time.monotonic() - start


def pop3_logins(master, users):
    """Each user logs in, asks for UIDL and LIST, and leaves."""
    def client(number):
        for user in users[number::CLIENTS]:
            wire = Wire(_Tcp(master.pop3_port))
            wire.greeting()
            for command, lines in ((f"USER {user}", False), ("PASS secret", False), ("UIDL", True),
                                   ("LIST", True), ("QUIT", False)):
                wire.pop3(command, lines)
            wire.close()

    return in_threads(CLIENTS, client)


def imap_sessions(master, users):
    """All at once: log in, SELECT, FETCH of flags, all bodies, STORE, log out."""
    def client(number):
        wire = Wire(_Tcp(master.imap_port))
        wire.greeting()
        for command in (f"LOGIN {users[number]} secret", 'SELECT "INBOX"', "FETCH 1:* FLAGS",
                        "FETCH 1:* BODY.PEEK[]", "STORE 1:* +FLAGS.SILENT (\\Seen)", "LOGOUT"):
            wire.imap(command)
        wire.close()

    return in_threads(len(users), client)


def measure(given, lab):
    """Figures of POP3 logins and of IMAP sessions."""
    accounts, sessions = (40, 5) if given.short else (2_000, 50)
    figures = Figures(f"{accounts:,} users of 50 messages", base="native")
    source = make_store(lab.new_directory("source") / "store", [(Shape(50), {})] * accounts)
    users = [user_name(number) for number in range(accounts)]
    with ExitStack() as stack:
        sides = [stack.enter_context(kind(lab, source))
                 for kind in (Native, PassThrough, Courierfs, WithoutCache, ControlFiles)
                 if kind.name in given.sides]
        masters = {side.name: stack.enter_context(side.dovecot.master()) for side in sides}
        for number in range(given.rounds):
            for side in sides if number % 2 == 0 else sides[::-1]:
                side.dovecot.forget_index()
                master = masters[side.name]
                for what in ("first", "again"):
                    figures.add(f"{accounts} POP3 logins, {what}", side.name,
                                pop3_logins(master, users))
                figures.add(f"{sessions} IMAP sessions at once", side.name,
                            imap_sessions(master, users[:sessions]))
            given.say(f"{figures.title}, round {number + 1} of {given.rounds}")
    return [figures]
