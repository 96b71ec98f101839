"""courierpop3d logs in again and again while mail arrives and Dovecots on two nodes look at it.

Courier's list of UIDLs is replaced at each of its logins that meets new mail, and by courierfs whenever
Dovecot sees a message first; Courier takes no lock for it. No entry that Courier made may be lost where
names can be exchanged: what its clients were told stays, and Dovecot tells the same. Elsewhere there is
a moment between courierfs's last look and its rename in which one can be (pop3.c): it is counted here. In
the end all servers tell the same, and no UIDL may ever name two messages.

The other way round Courier can win: it reads its list, courierfs enters a message, and Courier replaces
the list by one that it made from the old one, with an entry of its own for that message. What Dovecot's
client was told in that moment changes then. Two Couriers do this to each other; it is counted here.
"""

import errno
import threading
import time
from pathlib import Path

import pytest

from servers.courier_files import SizeList
from servers.faults import EXCHANGES, FOR_EVER, Faults
from servers.imap import Refused
from servers.lab import wait_until
from servers.site import Site
from servers.together import MIA, add_user, rounds, stopping, word_of, working

pytestmark = pytest.mark.any_layout

SECONDS = rounds(6)


class Client:
    """Logs in again and again, and notes which message has which UIDL."""

    def __init__(self, log_in):
        self._log_in = log_in
        self.told = {}  # message: its UIDLs, the latest one last
        self._known = {}
        self.sessions = 0
        self.failure = None

    def visit(self):
        """One session."""
        with self._log_in() as pop3:
            for number, uidl in enumerate(pop3.uidls(), start=1):
                if uidl in self._known:
                    continue
                try:
                    word = word_of(pop3.top(number))
                except Refused:
                    continue  # its name changed since the login: it comes next time
                self._known[uidl] = word
                uidls = self.told.setdefault(word, [])
                uidls.append(uidl)
        self.sessions += 1

    def thread(self, stop):
        """A thread that visits until `stop`."""
        def work():
            try:
                while not stop.is_set():
                    self.visit()
            except Exception as error:  # pylint: disable=broad-exception-caught
                self.failure = error

        return threading.Thread(target=work)


def looking(log_in, stop):
    """A thread that selects the INBOX again and again."""
    def work():
        while not stop.is_set():
            with log_in() as imap:
                imap.select("INBOX")
                imap.command("NOOP")

    return threading.Thread(target=work)


@pytest.mark.parametrize("can_exchange", [True, False], ids=["exchange", "rename"])
def test_courier_logs_in_all_the_time(lab, courier, store, record_property, can_exchange):
    """What Courier told stays, on every server, where names can be exchanged."""
    here = Site(lab, courier, store)
    there = Site(lab, courier, store)
    faults = [Faults(lab, node.mount) for node in (here, there)] if not can_exchange else []
    for fault in faults:
        fault.arm(1, FOR_EVER, errno.EINVAL, EXCHANGES)
    maildir = add_user(here)
    with here, there:
        couriers = Client(lambda: courier.pop3(maildir))
        dovecots = [Client(lambda node=node: node.dovecot.pop3(MIA)) for node in (here, there)]
        clients = [couriers, *dovecots]
        stop = threading.Event()
        with (working(lab, "deliverer", maildir) as made,
              stopping([*(client.thread(stop) for client in clients),
                        looking(lambda: here.dovecot.imap(MIA), stop)], stop)):
            time.sleep(SECONDS)
        for client in clients:
            assert not client.failure, client.failure
            client.visit()
        last = {word: uidls[-1] for word, uidls in couriers.told.items()}
        changed = sum(len(uidls) > 1 for client in dovecots for uidls in client.told.values())
        lost = {word: uidls for word, uidls in couriers.told.items() if len(uidls) > 1}
        text = (f"{made[0]} messages, {couriers.sessions} logins to Courier, "
                f"{sum(client.sessions for client in dovecots)} to Dovecot, "
                f"{sum(fault.fired for fault in faults)} exchanges refused: "
                f"{len(lost)} UIDLs of Courier's lost, {changed} of Dovecot's replaced by Courier")
        print(text)
        record_property("pop3", text)
        assert not (can_exchange and lost), lost
        assert len(last) == made[0]
        assert all({word: uidls[-1] for word, uidls in client.told.items()} == last
                   for client in dovecots)
        names = {}
        for client in clients:
            for word, uidls in client.told.items():
                assert all(names.setdefault(uidl, word) == word for uidl in uidls)
        assert set(last.values()) <= set(SizeList.read(maildir).uidls.values())
        here.agree(MIA)


def delayed(lab, pid):
    """strace on a process: each of its fdatasyncs begins a second late."""
    tracer = lab.spawn(["strace", "-qq", "-o", "/dev/null", "-p", pid, "-e", "trace=fdatasync",
                        "-e", "inject=fdatasync:delay_enter=1000000"])
    wait_until(lambda: f"TracerPid:\t{tracer.pid}" in
               Path(f"/proc/{pid}/status").read_text(encoding="ascii"), "strace is there")
    return tracer


def test_courier_enters_a_message_that_dovecot_is_storing(site):
    """Dovecot has renamed it to `new`, and not yet asked that this be made durable."""
    maildir = add_user(site, MIA)
    with site.courier.pop3(maildir) as pop3:
        pop3.uidls()
    imap = site.dovecot.imap(MIA)
    imap.select("INBOX")
    tracer = delayed(site.lab, imap.connection.pid)
    appending = threading.Thread(target=imap.append, args=("INBOX", b"Subject: late\n\nlate\n"))
    appending.start()
    try:
        wait_until(lambda: any((maildir / "new").iterdir()), "the message is in new")
        with site.courier.pop3(maildir) as pop3:
            told = pop3.uidls()
    finally:
        appending.join()
        tracer.terminate()
        site.lab.end(tracer)
    with site.dovecot.pop3(MIA) as pop3:
        assert pop3.uidls() == told
    imap.close()
    site.agree(MIA)
