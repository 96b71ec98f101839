"""The checker on made-up histories: it finds each kind of violation, and accepts what is right."""

import pytest

from soak import history
from soak.checker import check, pop3_key, shortest_prefix
from soak.deeds import Deed, Look, possible
from soak.history import (
    Change, DatabaseVersion, Fault, FileStep, FolderChange, FolderListing, Letters, Listing, Login,
    Oddity, PopListing, Put, Quota, Refusal, Removal, SizeListVersion, Status)

COURIER = "courier-imap@store#1"
DOVECOT = "dovecot-imap@mount1#2"
COURIER_POP = "courier-pop3@store#3"
DOVECOT_POP = "dovecot-pop3@mount2#4"
VALIDITY = 700
LDA = "dovecot-lda:50@vm"
IMAPD, POP3D, COURIERFS = "imapd:10@vm", "courierpop3d:20@vm", "courierfs:30@vm"
# The sessions' programs.
IMAP_LOGIN, POP_LOGIN = Login(0, 0.1, COURIER, "10@vm"), Login(9, 9.1, COURIER_POP, "20@vm")


def put(token, at=0.0, flags=(), **more):
    """A delivery that took a tenth of a second."""
    values = {"how": "deliver", "mailbox": "INBOX", "digest": "d" + token,
              "flags": None if flags is None else list(flags), "acknowledged": True} | more
    return Put(at, at + 0.1, "delivery-exim@store", token=token, **values)


def lda(token, at, node, mailbox="INBOX"):
    """A delivery by Dovecot, of which nobody knows how it ended."""
    return Put(at, at + 0.1, f"dovecot-lda@{node}", "deliver", mailbox, token, "d" + token, [],
               False)


def listing(at, *messages, by=DOVECOT, command="SELECT", validity=VALIDITY, **more):
    """A look at INBOX; messages are (uid, token) or longer."""
    return Listing(at, at + 0.1, by, "INBOX", validity, command, list(messages), **more)


def pop(at, *messages, by=DOVECOT_POP, **more):
    """A POP3 session's look; messages are (uidl, token)."""
    return PopListing(at, at + 0.1, by, "INBOX", list(messages), **more)


def change(at, token, add=(), remove=(), by=DOVECOT, acknowledged=True, believed=None):
    """A STORE."""
    return Change(at, at + 0.1, by, "INBOX", token, list(add), list(remove), acknowledged,
                  believed)


def removal(at, token, by=DOVECOT, how="expunge", acknowledged=True):
    """An EXPUNGE of one message."""
    return Removal(at, at + 0.1, by, how, "INBOX", [token], [token] * acknowledged)


def step(at, by, what, base="1.a", part="cur", words=(), former=()):
    """What a program did in INBOX."""
    return FileStep(at, at + 0.01, by, what, "INBOX", base, part, list(words), list(former))


def size_list(at, by, added=(), removed=()):
    """A version of INBOX's size list."""
    return SizeListVersion(at, at, by, "INBOX", list(added), list(removed))


def database(at, by, added=(), removed=(), validity=VALIDITY):
    """A version of INBOX's uid database."""
    return DatabaseVersion(at, at, by, "INBOX", validity, 99, list(added), list(removed))


def torn_cache(file_seq=8, pid=40):
    """What Dovecot on the first node logs of a cache that is not what its index says."""
    return Oddity(90, 90, "mount1",
                  f"Dovecot: imap(ann@example.org)<{pid}><v4v+Ns3UB2vW>: Error: Mailbox INBOX.Work:"
                  f" Deleting corrupted cache: reset_id mismatch even after locking "
                  f"(file_seq={file_seq} != reset_id=7)")


def no_cache(mailbox="INBOX.Work", node="mount1"):
    """What another Dovecot logs of the cache that was deleted for that."""
    return Oddity(91, 91, node,
                  f"Dovecot: imap(ann@example.org)<41><u4v+Ns3UB2vW>: Error: Mailbox {mailbox}: stat() "
                  "failed with file /tmp/i/28/example.org/ann/.Work/dovecot.index.cache: "
                  "No such file or directory")


def folder(at, how, name, new_name=None, acknowledged=True):
    """A folder operation."""
    return FolderChange(at, at + 0.1, COURIER, how, name, acknowledged, new_name)


def folders(at, names=(), subscribed=(), by=DOVECOT, **more):
    """LIST and LSUB."""
    return FolderListing(at, at + 0.1, by, list(names), list(subscribed), **more)


# Courier scans, somebody renames a file, and the new version lacks it.
DROPPING = database(10, IMAPD, removed=[(1, "1.a", "a", True)])
SCAN = [IMAP_LOGIN, database(1, IMAPD, [(1, "1.a", "a")]), step(9.9, IMAPD, "lock", part="tmp"),
        step(9.95, COURIERFS, "rename"), DROPPING]

# A Dovecot expunges a message, and so does somebody else.
EXPUNGED_TWICE = [put("a"), put("b"), database(1, IMAPD, [(1, "1.a", "a"), (2, "2.b", "b")]),
                  removal(9.9, "a", by="dovecot-imap@mount2#8"), removal(10, "a")]
EXPUNGED_PROOF = [step(9.95, COURIERFS, "unlink"),
                  database(10.02, COURIERFS, removed=[(1, "1.a", "a", False)])]

VIOLATIONS = {
    "uid-reused": [put("a"), put("b", 15), listing(10, (1, "a")), removal(12, "a"),
                   listing(20, (1, "b"), by=COURIER)],
    "uid-reused by APPENDUID": [
        put("a"), put("b", 9, how="append", uidvalidity=VALIDITY, uid=1), listing(10, (1, "a"))],
    "uid-changed": [put("a"), listing(10, (1, "a")), listing(20, (2, "a"))],
    "uid-changed though Courier looked at it by EXAMINE": [
        put("a"), database(1, IMAPD, [(1, "1.a", "a")]),
        listing(10, (1, "a"), by=COURIER, command="EXAMINE", read_only=True),
        listing(20, (2, "a"))],
    "uidvalidity": [listing(10), listing(20, validity=701)],
    "uidvalidity told by STATUS": [listing(10), Status(20, 20.1, DOVECOT, "INBOX", 701)],
    "uidvalidity of another folder's change": [
        listing(10), folder(15, "rename", "INBOX.X", "INBOX.Y"), listing(20, validity=701)],
    "uidl-changed": [put("a"), pop(10, ("UID1-5", "a"), by=COURIER_POP), pop(20, ("UID2-5", "a"))],
    "uidl-changed from Dovecot to Courier": [
        put("a"), pop(10, ("UID1-5", "a")), pop(20, ("UID2-5", "a"), by=COURIER_POP)],
    "uidl-reused": [put("a"), put("b", 9), pop(10, ("UID1-5", "a")), removal(12, "a"),
                    pop(20, ("UID1-5", "b"))],
    "pop3-order": [put("a"), put("b"),
                   database(1, IMAPD, [(1, "100.x", "b"), (2, "200.x", "a")]),
                   pop(10, ("U1", "a"), ("U2", "b"))],
    "flag not set": [put("a"), change(5, "a", ["\\Flagged"]), listing(20, (1, "a", []))],
    "flag not seen at once on the same node": [
        put("a"), change(5, "a", ["\\Flagged"]), listing(6, (1, "a", []))],
    "flag not seen at once in the same index": [
        Fault(3, 3, "index@mount1", "Dovecot's index"),
        Fault(5.5, 5.5, "index@mount2", "Dovecot's index"),
        Login(4, 4.1, DOVECOT, "1@vm"), Login(5.2, 5.3, "dovecot-imap@mount1#9", "2@vm"),
        put("a"), change(5, "a", ["\\Flagged"]),
        listing(6, (1, "a", []), by="dovecot-imap@mount1#9")],
    "flag not seen by the session that set it when its index was lost": [
        Login(4, 4.1, DOVECOT, "1@vm"), Fault(4, 4, "index@mount1", "Dovecot's index"),
        put("a"), change(5, "a", ["\\Flagged"]), listing(6, (1, "a", []))],
    "flag came back": [put("a", flags=["\\Seen"]), change(5, "a", remove=["\\Seen"]),
                       listing(20, (1, "a", ["\\Seen"]))],
    "flag not seen by SELECT of a node that is busy": [
        put("a"), change(5, "a", ["\\Flagged"], by=COURIER), change(5, "b", ["\\Seen"]),
        change(6.9, "b", ["\\Draft"]), change(8.5, "b", ["\\Draft"]), listing(9, (1, "a", []))],
    "flag never set": [put("a"), listing(20, (1, "a", ["\\Answered"]))],
    "flag lost to an older change": [
        put("a"), change(5, "a", ["Junk"], acknowledged=False), change(10, "a", remove=["Junk"]),
        listing(20, (1, "a", ["Junk"]))],
    "flag, a keyword lost with nobody to blame": [
        put("a"), change(5, "a", ["Junk"]), change(7, "a", ["\\Seen"], by=COURIER),
        listing(20, (1, "a", ["\\Seen"]))],
    "missing": [put("a"), listing(20)],
    "missing, another was removed": [put("a"), put("b"), removal(10, "b"), listing(20)],
    "missing in POP3": [put("a"), pop(20)],
    "lost": [put("a"), listing(20, quiet=True, by=COURIER)],
    "lost though Courier once dropped it": [
        put("a"), *SCAN, listing(20, quiet=True, by=COURIER)],
    "missing for Dovecot though Courier dropped it": [put("a"), *SCAN, listing(10)],
    "came-back": [put("a"), listing(5, (1, "a")), removal(10, "a"), listing(20, (1, "a"))],
    "came-back after POP3": [put("a"), removal(10, "a", by=DOVECOT_POP, how="dele"),
                             listing(20, (1, "a"), by=COURIER)],
    "came-back, a Dovecot on another node removed it, too, but others are behind it": [
        *EXPUNGED_TWICE, *EXPUNGED_PROOF, listing(10.5, (1, "a"), (2, "b"))],
    "came-back, a Dovecot on another node removed it, too, long ago": [
        removal(9.9, "b", by=COURIER, acknowledged=False),
        *EXPUNGED_TWICE, *EXPUNGED_PROOF, listing(14, (1, "a"), (2, "b"))],
    "twice": [put("a"), listing(20, (1, "a"), (2, "a"))],
    "twice in POP3": [put("a"), pop(20, ("U1", "a"), ("U2", "a"))],
    "content": [put("a"), listing(20, (1, "a", None, "other"))],
    "line-dropped": [put("a"), database(1, COURIERFS, removed=[(1, "1.a", "a", True)])],
    "line-dropped, the file was deleted later": [
        put("a"), database(1, COURIERFS, removed=[(1, "1.a", "a", False)]),
        step(2, COURIERFS, "unlink")],
    "line-dropped by Courier, renamed before it looked": [
        put("a"), step(9.8, COURIERFS, "rename"), step(9.9, IMAPD, "lock", part="tmp"), DROPPING],
    "line-dropped by Courier, which renamed it itself": [
        put("a"), step(9.9, IMAPD, "lock", part="tmp"), step(9.95, IMAPD, "rename"), DROPPING],
    "line-dropped by Courier, still in new": [
        put("a"), step(9.9, IMAPD, "lock", part="tmp"),
        step(9.95, COURIERFS, "rename", part="new"), DROPPING],
    "line-dropped by Courier, another file was renamed": [
        put("a"), step(9.9, IMAPD, "lock", part="tmp"),
        step(9.95, COURIERFS, "rename", "1.b"), DROPPING],
    "line-dropped, Dovecot's index was lost with its mount": [
        put("a"), database(1, IMAPD, [(1, "1.a", "a")]),
        Fault(5, 6, "courierfs@mount1", "courierfs"),
        step(5.1, "imap:40@vm", "failure", "dovecot-uidlist"),
        database(8, COURIERFS, [(2, "1.a", "a")], [(1, "1.a", "a", True)])],
    "line-dropped from the size list, put back later": [
        put("a"), size_list(1, COURIERFS, removed=[("U1", "1.a", "a", True)]),
        size_list(2, COURIERFS, [("U1", "1.a", "a")])],
    "line-dropped from the size list": [
        put("a"), size_list(1, COURIERFS, removed=[("U1", "1.a", "a", True)])],
    "folder is missing": [folder(5, "create", "INBOX.X"), folders(20, ["INBOX"])],
    "folder came back": [folder(5, "create", "INBOX.X"), folder(10, "delete", "INBOX.X"),
                         folders(20, ["INBOX.X"])],
    "folder has its old name": [folder(5, "create", "INBOX.X"),
                                folder(10, "rename", "INBOX.X", "INBOX.Y"),
                                folders(20, ["INBOX.X", "INBOX.Y"])],
    "folder not subscribed": [folder(5, "subscribe", "INBOX.X"), folders(20)],
    "disagree": [put("a"), listing(20, (1, "a", ["\\Seen"]), quiet=True),
                 listing(21, (1, "a", []), quiet=True, by=COURIER),
                 change(0, "a", ["\\Seen"], acknowledged=False)],
    "disagree on POP3's order": [
        put("a"), put("b"), pop(20, ("U1", "a"), ("U2", "b"), quiet=True),
        pop(30, ("U2", "b"), ("U1", "a"), quiet=True, by=COURIER_POP)],
    "quota": [Quota(10, 10.1, DOVECOT, "APPEND", [300, 2], [400, 3])],
    "quota, no file": [Quota(10, 10.1, DOVECOT, "APPEND", None, [0, 0])],
    "refused": [Refusal(10, 10.1, DOVECOT, "SELECT", "[SERVERBUG] Internal error occurred.")],
    "refused, another was killed": [
        Fault(10, 10, "dovecot-imap@mount1#3", "dovecot-imap"),
        Refusal(10, 10.1, DOVECOT, "ended", "NOOP: EOFError")],
    "stuck": [Refusal(10, 90, DOVECOT, "stuck", "no answer to NOOP")],
    "oddity": [Oddity(10, 10, "store", "a lock that nobody released")],
    "oddity, a cache that nobody deleted": [no_cache()],
    "oddity, a cache of another folder": [
        Login(5, 5.1, "dovecot-imap@mount1#9", "40@vm"), Fault(10, 10, DOVECOT, "dovecot-imap"),
        torn_cache(), no_cache("INBOX.Lists")],
    "oddity, a cache of another node": [
        Login(5, 5.1, "dovecot-imap@mount1#9", "40@vm"), Fault(10, 10, DOVECOT, "dovecot-imap"),
        torn_cache(), no_cache(node="mount2")],
    "oddity, a cache that is behind": [
        Login(0, 0.1, DOVECOT, "40@vm"), Fault(0, 0, "dovecot-imap@mount1#7", "dovecot-imap"),
        torn_cache(6)],
    "oddity, a cache that is wrong in another way": [
        Login(0, 0.1, DOVECOT, "40@vm"), Fault(0, 0, "dovecot-imap@mount1#7", "dovecot-imap"),
        Oddity(90, 90, "mount1", torn_cache().text.replace("reset_id mismatch", "file_seq is 0"))],
}


# What is twice in a listing has two names there.
ALSO = {"twice": {"uid-changed"}, "twice in POP3": {"uidl-changed"}}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_finds(name):
    """Each violation is found, and nothing else is seen in the same history."""
    found = {violation.kind for violation in check(VIOLATIONS[name]).violations}
    assert found == {name.split()[0].rstrip(",")} | ALSO.get(name, set())


# What is Courier's own doing, and the part of it that proves it.
ARTEFACTS = {
    "provisional-uid named another": ([
        put("a"), put("b"), database(15, IMAPD, [(1, "1.b", "b"), (2, "2.a", "a")]),
        listing(20, (1, "b"), (2, "a"))],
        [listing(10, (1, "a"), by=COURIER, command="EXAMINE", read_only=True, complete=False)],
        [listing(10, (1, "a"), by=COURIER, complete=False)]),
    "provisional-validity": ([database(8, IMAPD), listing(10)],
                             [Status(5, 5.1, COURIER, "INBOX", 650)],
                             [Status(5, 5.1, DOVECOT, "INBOX", 650)]),
    "dovecot-delete": (
        [FolderChange(10, 10.2, DOVECOT, "delete", "INBOX.X", False),
         Refusal(20, 20.1, DOVECOT, "SELECT", "Mailbox was deleted under us.")],
        [Fault(10.2, 10.2, DOVECOT, "dovecot-imap")],
        [Fault(10.2, 10.2, "dovecot-imap@mount2#9", "dovecot-imap")]),
    "dovecot-create": (
        [FolderChange(10, 10.2, DOVECOT, "create", "INBOX.New", False),
         Refusal(10, 10.2, DOVECOT, "CREATE", "[ALREADYEXISTS] Mailbox already exists.")],
        [FileStep(10.1, 10.1, COURIERFS, "lock", "INBOX.New"),
         FileStep(10.15, 10.15, IMAPD, "lock", "INBOX.New")],
        [FileStep(10.1, 10.1, COURIERFS, "lock", "INBOX.New"),
         FileStep(10.15, 10.15, COURIERFS, "unlock", "INBOX.New")]),
    "dovecot-empty-status": ([listing(10), Status(20, 20.1, DOVECOT, "INBOX", 0), listing(30)],
                             [step(19.9, IMAPD, "lock"), step(20.2, IMAPD, "unlock")],
                             [step(19.8, IMAPD, "lock"), step(19.9, IMAPD, "unlock")]),
    "courier-scan gave another UID": ([
        put("a"), *SCAN[:3], DROPPING, listing(5, (1, "a")),
        database(12, IMAPD, [(2, "1.a", "a")]), listing(20, (2, "a"))],
        [step(9.95, COURIERFS, "rename")], []),
    "courier-scan missed it once": ([put("a"), *SCAN[:3], DROPPING, listing(9.95, by=COURIER)],
                                    [step(9.95, COURIERFS, "rename")], []),
    "courier-scan made EXPUNGE look done": ([
        put("a"), *SCAN[:3], DROPPING, removal(9.9, "a", by=COURIER), listing(20, (2, "a"))],
        [step(9.95, COURIERFS, "rename")], []),
    "courier-scan showed it twice": ([
        put("a"), *SCAN[:3], DROPPING, listing(11, (1, "a"), (2, "a"))],
        [step(9.95, COURIERFS, "rename")], []),
    "dovecot-expunge": (
        [*EXPUNGED_TWICE, removal(10, "b"), listing(10.5, (1, "a"), (2, "b"))],
        [*EXPUNGED_PROOF, removal(9.9, "b", by=COURIER), step(9.95, COURIERFS, "unlink", "2.b"),
         database(10.03, COURIERFS, removed=[(2, "2.b", "b", False)])],
        [step(9.5, COURIERFS, "unlink"), step(9.95, COURIERFS, "unlink", "2.b"),
         database(10.12, COURIERFS, removed=[(1, "1.a", "a", False)])]),
    "courier-listing": ([
        put("a"), IMAP_LOGIN, database(1, IMAPD, [(1, "1.a", "a")]),
        listing(20, by=COURIER, command="EXAMINE", read_only=True), listing(21, (1, "a"))],
        [step(20.05, COURIERFS, "rename")], [step(20.2, COURIERFS, "rename")]),
    "courier-keywords": ([
        put("a"), change(5, "a", ["Junk"]), IMAP_LOGIN, database(1, IMAPD, [(1, "1.a", "a")]),
        change(5.5, "a", ["Later"], by=COURIER), listing(20, (1, "a", ["Later"]))],
        [step(5.5, IMAPD, "keywords", words=["later"])],
        [step(5.5, COURIERFS, "keywords", words=["later"]),
         step(5.5, IMAPD, "keywords", words=["later", "junk"])]),
    "idle-store of a Dovecot whose mount was dead": ([
        put("a"), database(1, IMAPD, [(1, "1.a", "a")]), change(5, "a", ["Junk"]),
        Login(0, 0.1, DOVECOT, "40@vm"), listing(20, (1, "a", []), by=COURIER)],
        [Fault(4.9, 5.05, "courierfs@mount1", "courierfs")],
        [Fault(4.9, 5.05, "courierfs@mount2", "courierfs")]),
    "dovecot-late after a dead mount": ([
        put("a"), database(1, IMAPD, [(1, "1.a", "a")]), Login(0, 0.1, DOVECOT, "40@vm"),
        change(5, "a", remove=["\\Seen"], acknowledged=False),
        change(6, "a", ["\\Seen"], by=COURIER),
        listing(20, (1, "a", []), by=COURIER)],
        [step(7, "imap:40@vm", "rename", former=["\\seen"])],
        [step(7, "imap:40@vm", "rename"), step(7, COURIERFS, "rename", former=["\\seen"]),
         step(4, "imap:40@vm", "rename", former=["\\seen"]),
         step(7, "imap:41@vm", "rename", former=["\\seen"]),
         Login(8, 8.1, "dovecot-imap@mount2#9", "40@vm"),
         step(9, "imap:40@vm", "rename", former=["\\seen"])]),
    "dovecot-late by a delivery, for a killed session": ([
        put("a", flags=["Junk"]), database(1, IMAPD, [(1, "1.a", "a")]),
        Letters(30, 30, "store", "INBOX", {"a": "Later", "b": "Junk"}),
        Fault(5.05, 5.05, DOVECOT, "dovecot-imap"),
        change(5, "a", remove=["Junk"], acknowledged=False),
        change(6, "a", ["Junk"], by=COURIER), listing(20, (1, "a", []), by=COURIER)],
        [lda("b", 7, "mount1"), step(7.05, LDA, "rename", former=["b"])],
        [lda("b", 7, "mount2"), step(7.05, LDA, "rename", former=["b"]),
         lda("c", 8, "mount1"), step(8.05, LDA, "rename", former=["a"]),
         lda("d", 9, "mount1"), step(9.05, COURIERFS, "rename", former=["b"]),
         step(10, LDA, "rename", former=["b"]),
         lda("e", 11, "mount1"), lda("f", 11, "mount2"), step(11.05, LDA, "rename", former=["b"]),
         lda("g", 4, "mount1"), step(4.05, LDA, "rename", former=["b"]),
         lda("h", 12, "mount1", "INBOX.Work"), step(12.05, LDA, "rename", former=["b"])]),
    "dovecot-busy": ([
        put("a"), change(5, "a", ["\\Flagged"], by=COURIER),
        listing(9, (1, "a", []), command="NOOP")],
        [change(5, "b", ["\\Seen"]), change(6.9, "b", ["\\Draft"]),
         removal(8.5, "c", by="dovecot-imap@mount1#7")],
        [change(6.8, "b", ["\\Draft"]), removal(8.5, "c", by="dovecot-imap@mount2#7"),
         change(4.9, "b", ["\\Seen"]), change(8.9, "b", ["\\Seen"], acknowledged=False)]),
    "dovecot-cache": ([
        Login(5, 5.1, "dovecot-imap@mount1#9", "40@vm"), torn_cache(),
        listing(20, by="dovecot-imap@mount1#9")],
        [Fault(10, 10, DOVECOT, "dovecot-imap")],
        [Fault(3, 4, "courierfs@mount1", "courierfs"),
         Fault(10, 10, "index@mount1", "Dovecot's index"),
         Fault(10, 10, "dovecot-imap@mount2#3", "dovecot-imap"),
         Fault(21, 21, DOVECOT, "dovecot-imap")]),
    "dovecot-cache one behind": ([
        Login(5, 5.1, "dovecot-imap@mount1#9", "40@vm"), torn_cache(6),
        listing(20, by="dovecot-imap@mount1#9")],
        [Fault(10, 10, "courierfs@mount1", "courierfs")],
        [Fault(10, 10, DOVECOT, "dovecot-imap"), Fault(10, 10, "courierfs@mount2", "courierfs"),
         Fault(3, 4, "courierfs@mount1", "courierfs")]),
    "dovecot-cache that was deleted": ([
        Login(5, 5.1, "dovecot-imap@mount1#9", "40@vm"), torn_cache(), no_cache(),
        listing(20, by="dovecot-imap@mount1#9")],
        [Fault(10, 10, DOVECOT, "dovecot-imap")],
        [Fault(10, 10, "dovecot-imap@mount2#3", "dovecot-imap")]),
    "dovecot-late keyword": ([
        put("a"), database(1, IMAPD, [(1, "1.a", "a")]), Login(0, 0.1, DOVECOT, "40@vm"),
        Letters(30, 30, "store", "INBOX", {"a": "Later", "b": "Junk"}),
        change(5, "a", ["Junk"]), change(6, "a", remove=["Junk"], by=COURIER),
        listing(20, (1, "a", ["Junk"]))],
        [step(7, "imap:40@vm", "rename", words=["b"])],
        [step(7, "imap:40@vm", "rename", words=["a"]),
         step(7, "imap:40@vm", "rename", words=["b"], former=["b"])]),
    "idle-store of a Courier": ([
        put("a"), database(1, IMAPD, [(1, "1.a", "a")]),
        change(15, "a", ["\\Seen"], by=COURIER), listing(20, (1, "a", []))],
        [IMAP_LOGIN], [IMAP_LOGIN, step(15.05, IMAPD, "rename", words=["\\seen"])]),
    "pop3-race-courier": ([
        put("a"), POP_LOGIN, pop(9, ("U1", "a"), by=COURIER_POP), pop(20, ("U2", "a"))],
        [size_list(9.05, "courierpop3d:21@vm", [("U2", "1.a", "a")])],
        [size_list(9.2, "courierpop3d:21@vm", [("U2", "1.a", "a")])]),
    "pop3-race-mixed": ([
        put("a"), POP_LOGIN, pop(9, ("U1", "a"), by=COURIER_POP), pop(20, ("U2", "a"))],
        [size_list(9.05, COURIERFS, [("U2", "1.a", "a")])],
        [size_list(8.9, COURIERFS, [("U2", "1.a", "a")])]),
    "courier-scan of the size list": ([
        put("a"), POP_LOGIN, size_list(1, POP3D, [("U1", "1.a", "a")]), pop(5, ("U1", "a")),
        size_list(9.05, POP3D, removed=[("U1", "1.a", "a", True)]), pop(20, ("U2", "a"))],
        [step(9.04, COURIERFS, "rename")], []),
    "courier-scan of the size list, the entry was new": ([
        put("a"), POP_LOGIN, size_list(9.05, POP3D, removed=[("U1", "1.a", "a", True)])],
        [size_list(9.02, COURIERFS, [("U1", "1.a", "a")])],
        [size_list(8.9, COURIERFS, [("U1", "1.a", "a")])]),
    "late-in-pop3-order": ([
        put("a"), database(1, IMAPD, [(1, "100.x", "b"), (2, "200.x", "a")]),
        PopListing(9.9, 11, DOVECOT_POP, "INBOX", [("U1", "a"), ("U2", "b")])],
        [put("b", 10)], [put("b", 9)]),
    "courier-pop3-dele": ([
        put("a"), POP_LOGIN, database(1, IMAPD, [(1, "1.a", "a")]),
        removal(10, "a", by=COURIER_POP, how="dele"), listing(20, (1, "a"))],
        [step(9.5, COURIERFS, "rename")], [step(8.5, COURIERFS, "rename")]),
}


@pytest.mark.parametrize("name", ARTEFACTS)
def test_tells_couriers_own_artefacts_apart(name):
    """What Courier does alone is counted, under its name, and is no violation."""
    events, proof, _ = ARTEFACTS[name]
    report = check(events + proof)
    assert report.violations == []
    assert set(report.counts()) == {name.split()[0]}


@pytest.mark.parametrize("name", ARTEFACTS)
def test_takes_nothing_for_an_artefact_without_proof(name):
    """The same with another thing in the proof's place is a violation."""
    events, _, no_proof = ARTEFACTS[name]
    found, alone = ({(v.kind, v.about) for v in check(records).violations}
                    for records in (events + no_proof, events))
    assert found and (found <= alone or not alone), "what is there instead breaks another promise"


RIGHT = {
    "an ordinary day": [
        put("a"), put("b"), database(1, IMAPD, [(1, "100.a", "a"), (2, "200.b", "b")]),
        listing(5, (1, "a", []), (2, "b", []), by=COURIER),
        change(6, "a", ["\\Seen", "Junk"], by=COURIER),
        listing(10, (1, "a", ["\\Seen", "junk"], "da"), (2, "b", [])),
        pop(12, ("U1", "a"), ("U2", "b")), pop(13, ("U1", "a"), ("U2", "b"), by=COURIER_POP),
        removal(14, "a"), listing(20, (2, "b", [])), pop(21, ("U2", "b"))],
    "too early to be seen": [put("a"), listing(1), change(5, "a", ["Junk"]),
                             listing(6, (1, "a", []), by=COURIER), removal(10, "a"),
                             listing(11, (1, "a"), by="dovecot-imap@mount2#9")],
    "not the same index, so too early to be seen": [
        Login(2, 2.1, DOVECOT, "1@vm"), Fault(3, 3, "index@mount1", "Dovecot's index"),
        Login(4, 4.1, "dovecot-imap@mount1#9", "2@vm"), put("a"), change(5, "a", ["Junk"]),
        listing(6, (1, "a", []), by="dovecot-imap@mount1#9")],
    "not acknowledged, so either": [
        put("a"), change(5, "a", ["Junk"], acknowledged=False), listing(20, (1, "a", [])),
        listing(30, (1, "a", ["Junk"])), removal(40, "a", acknowledged=False), listing(50),
        listing(51, (1, "a"))],
    "two at once, so either": [
        put("a"), change(5, "a", ["Junk"]), change(5.05, "a", remove=["Junk"], by=COURIER),
        listing(20, (1, "a", []))],
    "a copy's flags are its source's": [put("a", flags=None), listing(20, (1, "a", ["\\Draft"]))],
    "an answer cut short": [put("a"), listing(20, complete=False), listing(30, (4, None))],
    "a folder deleted and made again": [
        listing(10, validity=700), folder(12, "delete", "INBOX"), listing(20, validity=701)],
    "a folder's life": [
        folder(5, "create", "INBOX.X"), folder(10, "subscribe", "INBOX.X"),
        folders(15, ["INBOX", "INBOX.X"], ["INBOX.X"]),
        folder(20, "rename", "INBOX.X", "INBOX.Y"), folders(30, ["INBOX", "INBOX.Y"], ["INBOX.X"]),
        folder(40, "delete", "INBOX.Y"), folder(41, "unsubscribe", "INBOX.X"),
        folders(50, ["INBOX"])],
    "a POP3 session older than a removal": [
        put("a"), removal(10, "a"), pop(9, ("U1", "a"))],
    "a database that forgets the dead": [
        put("a"), removal(2, "a"), database(3, COURIERFS, removed=[(1, "1.a", "a", False)])],
    "quota": [Quota(10, 10.1, DOVECOT, "APPEND", [400, 3], [400, 3])],
    "a size list that is exchanged, and back": [
        put("a"), size_list(1, POP3D, [("U1", "1.a", "a")]),
        size_list(1.001, COURIERFS, [("U2", "1.a", "a")], [("U1", "1.a", "a", True)]),
        size_list(1.002, COURIERFS, [("U1", "1.a", "a")], [("U2", "1.a", "a", True)])],
    "a kill": [Fault(1, 2, "courierfs@mount1", "courierfs", True),
               Refusal(1.5, 1.6, DOVECOT, "SELECT", "[SERVERBUG] Internal error occurred."),
               Fault(5, 5, COURIER, "courier-imap"),
               Refusal(5, 5.1, COURIER, "ended", "NOOP: EOFError")],
    "refusals of what somebody else made impossible": [
        Refusal(1, 1.1, DOVECOT_POP, "RETR", "-ERR Message # expunged.")],
    "looks at a dead mount": [
        put("a"), listing(5, (1, "a", [])), change(6, "a", ["Junk"], by=COURIER),
        removal(10, "a", by=COURIER), put("b", 10),
        Fault(19, 21, "courierfs@mount1", "courierfs"), listing(20, (1, "a", []))],
}


@pytest.mark.parametrize("name", RIGHT)
def test_accepts(name):
    """What is right is neither a violation nor an artefact."""
    report = check(RIGHT[name])
    assert (report.violations, report.artefacts) == ([], [])


def test_order_of_pop3():
    """Courier's order: number, then bytes as signed characters, a colon at the end."""
    names = ["1700000000.é", "1700000000.M10P1.h", "1700000000.M9P1.h!x",
             "1700000000.M9P1.h,S=5", "1700000000.M9P1.h", "1700000000.~", "1700000000"]
    assert sorted(reversed(names), key=pop3_key) == names


def test_what_a_look_may_show():
    """The last sure deed counts, and whatever came beside or after it."""
    old, beside, last, late = (Deed(put("a", start), value, sure, ("mount1", 0))
                               for start, value, sure in (
                                   (1, 1, True), (5.95, 2, False), (6, 3, True), (10, 4, True)))
    deeds = [old, beside, last, late]
    assert possible(deeds, Look(10, 10.1, ("mount2", 0)), 1) == [beside, last, late]
    assert possible(deeds, Look(6.5, 6.6, ("mount2", 0)), 1) == [old, beside, last]
    assert possible(deeds, Look(6.5, 6.6, ("mount1", 0)), 1) == [beside, last]


def test_shortest_prefix():
    """The prefix ends with the record that breaks the promise."""
    records = VIOLATIONS["uid-reused"] + [listing(30, (1, "b")), listing(40, (1, "b"))]
    prefix = shortest_prefix(records, check(records).violations[0])
    assert (len(prefix), prefix[-1]) == (5, records[4])


def test_survives_a_file(tmp_path):
    """A history is the same after it was written and read."""
    records = [r for made in (VIOLATIONS, RIGHT) for rs in made.values() for r in rs]
    records += [r for lists in ARTEFACTS.values() for rs in lists for r in rs]
    assert {type(r) for r in records} == set(history.KINDS.values())
    history.write(tmp_path / "history", records)
    again = history.read(tmp_path / "history")
    assert [history.to_line(r) for r in again] == [history.to_line(r) for r in records]
    assert check(again).violations == check(records).violations
