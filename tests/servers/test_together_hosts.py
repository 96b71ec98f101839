"""Two hosts: pid namespaces, host names, mount tables, daemons, Dovecots and Couriers of their own.

A process of the other host cannot be asked whether it lives, so its lock counts for two minutes.
"""

import contextlib
import os
import signal
import threading
import time

import pytest

from servers.answers import nothing_in
from servers.courier import deliver
from servers.courier_files import UidDatabase
from servers.hosts import Host
from servers.lab import as_mail_user, wait_until
from servers.site import strange_things
from servers.store import letter
from servers.test_lock import Waiting
from servers.test_together_kill import (
    OLD, WITHOUT_GAMIN, goes_on, holder, lock_of, stopped_with_lock)
from servers.together import MIA, add_large_user, named, rounds, stopping, words_by_uid

pytestmark = pytest.mark.any_layout

COUNT = 400
SECONDS = rounds(5)


class Node:
    """A host with courierfs and both servers on it."""

    def __init__(self, host, site):
        self.host = host
        self.site = site

    def courier(self, maildir):
        """A session with its Courier, which looks at a lock every second."""
        return self.site.courier.imap(maildir, **WITHOUT_GAMIN)

    def dovecot(self):
        """A session with its Dovecot."""
        return self.site.dovecot.imap(MIA)

    def stops_with_lock(self, maildir, imap, command):
        """Stops a session's server while it holds the lock; its pid here."""
        here, there = self.host.pids(imap.connection.pid)
        stopped_with_lock(maildir, imap, command, here, there)
        assert holder(maildir) == f"{there}:{self.host.name}"
        return here


@contextlib.contextmanager
def node(lab, store, name):
    """A node that runs beside the block."""
    with Host(lab, name) as host, host.site(store) as site:
        yield Node(host, site)


def test_a_host_ends_though_its_programs_lost_their_parents(lab):
    """Or the others could not go on without it: a killed nsenter leaves one that only we can reap."""
    with Host(lab, "orphaned") as host:
        entered = host.spawn(["sleep", "1000"])
        inner, _ = host.pids(entered.pid)
        entered.kill()
        entered.wait()
    assert not os.path.exists(f"/proc/{inner}")


@pytest.fixture(name="nodes")
def make_nodes(lab, courier, store):
    """Two nodes with different names."""
    del courier  # its programs are needed
    with node(lab, store, "nodeA") as first, node(lab, store, "nodeB") as second:
        yield first, second
    nothing_in(strange_things(store), "the store is not as Courier leaves one")


@pytest.fixture(name="maildir")
def make_maildir(nodes):
    """A large mailbox; made by the first node's Courier."""
    return add_large_user(nodes[0].site, COUNT)


def grow_old(maildir, seconds=OLD):
    """Sets the lock's time back."""
    with as_mail_user():
        os.utime(lock_of(maildir), (time.time() - seconds, time.time() - seconds))


def all_agree(nodes, maildir):
    """Every server of both nodes shows the same messages under the same UIDs; these."""
    answers = []
    for one in nodes:
        for imap in (one.dovecot(), one.courier(maildir)):
            with imap:
                imap.select("INBOX")
                answers.append(words_by_uid(imap) if imap.uids() else {})
    assert all(answer == answers[0] for answer in answers[1:])
    return answers[0]


def waits_for_the_other(one, maildir):
    """Sessions of both servers of a node, with a question that needs the lock."""
    courier, dovecot = one.courier(maildir), one.dovecot()
    deliver(maildir, letter(1))
    waiting = [Waiting(courier, "SELECT INBOX"), Waiting(dovecot, "SELECT INBOX")]
    assert waiting[0].is_quiet(1.5) and waiting[1].is_quiet(0)
    return waiting, (courier, dovecot)


@pytest.mark.parametrize("server", ["Courier", "Dovecot"])
def test_the_lock_of_another_host(nodes, maildir, server):
    """It is honoured while it is fresh, whether its process lives or not; broken when it is old."""
    first, second = nodes
    before = UidDatabase.read(maildir)
    imap = first.courier(maildir) if server == "Courier" else first.dovecot()
    imap.select("INBOX")
    pid = first.stops_with_lock(
        maildir, imap, "NOOP" if server == "Courier" else "STORE 1:* +FLAGS (\\Flagged)")
    waiting, sessions = waits_for_the_other(second, maildir)
    # The whole host goes: otherwise the daemon there would release Dovecot's lock.
    os.kill(pid, signal.SIGSTOP)
    first.host.power_off()
    imap.close()
    assert waiting[0].is_quiet(1) and waiting[1].is_quiet(0)
    assert holder(maildir).endswith(":nodeA")
    grow_old(maildir)
    for session, who in zip(waiting, ("Courier", "Dovecot")):
        goes_on(session, who)
    for session in sessions:
        session.close()
    # The host comes back with the state directory it had.
    with first.host, first.site:
        all_agree(nodes, maildir)
    after = UidDatabase.read(maildir)
    assert after.uidvalidity == before.uidvalidity
    assert before.uids.items() <= after.uids.items()


def appending(imap, prefix, stop, told):
    """A thread that appends messages, and notes the UIDs that it is told."""
    def work():
        number = 0
        while not stop.is_set():
            number += 1
            word = f"{prefix}{number}"
            reply = imap.append("INBOX", named(word), "\\Seen" if number % 2 else "")
            told.append((*reply.code("APPENDUID").split(), word))

    return threading.Thread(target=work)


def test_uids_are_given_out_once(nodes, maildir, record_property):
    """Both servers of both hosts append at the same time: every UID is told once, and stays."""
    sessions = [imap for one in nodes for imap in (one.courier(maildir), one.dovecot())]
    stop, told = threading.Event(), [[] for _ in sessions]
    threads = [appending(imap, f"s{place}n", stop, told[place])
               for place, imap in enumerate(sessions)]
    with stopping(threads, stop):
        time.sleep(SECONDS)
    for imap in sessions:
        imap.close()
    text = f"appended in {SECONDS} s: {[len(some) for some in told]}"
    print(text)
    record_property("hosts", text)
    everything = [claim for some in told for claim in some]
    assert all(told)
    assert len({validity for validity, _, _ in everything}) == 1
    uids = {int(uid): word for _, uid, word in everything}
    assert len(uids) == len(everything)
    assert uids.items() <= all_agree(nodes, maildir).items()


@pytest.mark.skipif("COURIERFS_ROUNDS" not in os.environ, reason="takes half a minute")
def test_a_living_lock_stays_fresh(nodes, maildir):
    """A Dovecot that holds the lock for long: its daemon keeps it young, and nobody breaks it."""
    first, second = nodes
    first.site.expected_complaints.append("Synchronization took")
    with first.dovecot() as imap, second.courier(maildir) as other:
        imap.select("INBOX")
        pid = first.stops_with_lock(maildir, imap, "STORE 1:* +FLAGS (\\Flagged)")
        grow_old(maildir, OLD - 50)
        waiting = Waiting(other, "SELECT INBOX")

        def is_fresh():
            return time.time() - lock_of(maildir).stat().st_mtime < 5

        wait_until(is_fresh, "the daemon touches the lock", 45)
        assert waiting.is_quiet(2) and holder(maildir)
        for held in (pid, imap.connection.pid):  # nsenter stops with its child
            os.kill(held, signal.SIGCONT)
        imap.collect("w")
        goes_on(waiting, "Courier")
    all_agree(nodes, maildir)


@pytest.mark.ordinary_layout
def test_one_name_for_two_hosts(lab, courier, store):
    """What must not be: the other host's living process is taken for dead, and its lock is broken.

    This is Courier's rule, which courierfs follows; README says what to take care of.
    """
    del courier
    with node(lab, store, "same") as first, node(lab, store, "same") as second:
        maildir = add_large_user(first.site, COUNT)
        # A pid that the other one does not have.
        first.host.run(["sh", "-c", "for i in $(seq 300); do /bin/true; done"])
        imap = first.courier(maildir)
        imap.select("INBOX")
        pid = first.stops_with_lock(maildir, imap, "NOOP")
        with second.dovecot() as other:
            other.append("INBOX", letter(1), "\\Seen")
        assert holder(maildir) == ""
        os.kill(pid, signal.SIGKILL)
        os.kill(imap.connection.pid, signal.SIGCONT)  # nsenter stopped with its child
        imap.close()
        all_agree((first, second), maildir)
