"""Two nodes, each with a state directory of its own: what one writes the other shows."""

import os

import pytest

from servers.answers import digest, nothing_in, same
from servers.fault_operations import IDA, LEA, Told, wire_digest
from servers.fault_place import build_templates  # pylint: disable=unused-import
from servers.lab import STORES
from servers.site import Site
from servers.store import letter

pytestmark = pytest.mark.skipif(bool(STORES), reason="faults are put below the daemon, not on NFS")

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
