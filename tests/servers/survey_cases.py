"""What `courierctl survey` must find: for each kind of finding a store in which it is.

A case changes a store that is sound, written by real Courier, and names words that the report
must have in the path, the reason or the text of that finding.
"""

import os
import shutil
import socket
import time
from dataclasses import dataclass
from typing import Callable

from servers.courier_files import KEYWORDS, SIZE_LIST, SUBSCRIPTIONS, UID_DATABASE, edit
from servers.lab import MAIL_GID, MAIL_UID, as_mail_user
from servers.store import ANN, BOB, CEM, DAN, GUS

HOST = socket.gethostname()
OTHER_UID = 5001


@dataclass
class Case:
    """One damage and what is to be said of it."""

    kind: str
    change: Callable
    words: tuple
    count: int = 1
    options: tuple = ()


def add_file(path, content=b""):
    """A file of the mail user's."""
    with as_mail_user():
        path.write_bytes(content)


def add_mailbox(path):
    """A directory with cur, new and tmp, for a name that Courier would not make."""
    path = os.fsencode(path)
    with as_mail_user():
        for part in (b"", b"/cur", b"/new", b"/tmp"):
            os.mkdir(path + part, 0o700)


def message(folder):
    """The path of a message that lies in cur."""
    return min(path for path in (folder / "cur").iterdir() if not path.name.startswith("."))


def rename_message(folder, change):
    """Gives a message in cur the name `change(name)`."""
    path = message(folder)
    path.rename(path.with_name(change(path.name)))


def appended(line):
    """For edit()."""
    return lambda content: content + line


def keyword_list(maildir, names):
    """Makes a message of the INBOX have all these keywords."""
    base = message(maildir).name.partition(":")[0]
    shutil.rmtree(maildir / KEYWORDS)
    with as_mail_user():
        (maildir / KEYWORDS).mkdir(0o700)
    numbers = " ".join(map(str, range(len(names))))
    add_file(maildir / KEYWORDS / ":list", ("\n".join(names) + f"\n\n{base}:{numbers}\n").encode())


def add_lock(maildir, content, age):
    """A lock of Courier's; an age below 0 lies in the future."""
    path = maildir / "tmp" / "courier.lock"
    add_file(path, content.encode())
    os.utime(path, (time.time() - age,) * 2)


def dead_pid():
    """The number of a process that is not there any more."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def add_uidlist(maildir, header, change=lambda uid: uid):
    """A dovecot-uidlist with the UIDs of Courier's uid database, or others."""
    first, *lines = (maildir / UID_DATABASE).read_text().splitlines()
    _, uidvalidity, next_uid = first.split()
    records = "".join(f"{change(int(uid))} :{base}\n"
                      for uid, base in (line.split(" ", 1) for line in lines))
    add_file(maildir / "dovecot-uidlist",
             (header.format(v=uidvalidity, n=int(next_uid) + 100) + "\n" + records).encode())


def with_directory_for(name):
    """Puts a directory in the place of a file."""
    def change(store):
        path = store.maildir(ANN) / name
        path.unlink()
        with as_mail_user():
            path.mkdir()
    return change


def linked(target):
    """A symbolic link in the place of a domain's directory."""
    return lambda store: os.symlink(target, store.path / "linked")


def two_of_a_base(store):
    """A message has its flags twice."""
    path = message(store.maildir(ANN))
    base = path.name.partition(":")[0]
    shutil.copy(path, path.with_name(base + ":2,RT"))


def one_in_new_too(store):
    """A message in cur, and another one of that base name in new."""
    path = message(store.maildir(ANN))
    shutil.copy(path, store.maildir(ANN) / "new" / path.name.partition(":")[0])


def shared_folders(store):
    """Old shared folders, as maildirmake --add and a subscription leave them."""
    maildir = store.maildir(BOB)
    add_file(maildir / "shared-maildirs", b"friends\t/somewhere/Maildir\n")
    with as_mail_user():
        (maildir / "shared-folders" / "friends" / "pub").mkdir(parents=True)


def own(*names, uid=0):
    """Gives a file or directory of Bob's to somebody else."""
    def change(store):
        os.chown(store.maildir(BOB).joinpath(*names), uid, MAIL_GID)
    return change


def give_a_message_away(store):
    """One of Bob's messages is not his."""
    os.chown(message(store.maildir(BOB)), OTHER_UID, MAIL_GID)


def unreadable(store):
    """A directory that belongs to nobody who could be asked."""
    path = store.folder(BOB, "INBOX.Work")
    path.chmod(0)


def of_version_1(content):
    """A size list as Courier wrote it long ago."""
    header, *lines = content.decode().splitlines()
    new = [f"/1 {header.split()[1]}"]
    for line in lines:
        name, size, identity = line.rsplit(" ", 2)
        new.append(f"{name} {size} {identity.split(':')[0]}")
    return ("\n".join(new) + "\n").encode()


def in_inbox(name, change, user=ANN):
    """Edits a file of a user's top maildir."""
    return lambda store: edit(store.maildir(user) / name, change)


def config(text):
    """A configuration file of Courier's beside the store."""
    return lambda store: (store.path.parent / "imapd").write_text(text)


CONFIG = ("--courier-config", "{store}/../imapd")

CASES = [
    Case("uiddb-refused", in_inbox(UID_DATABASE, lambda _: b"gar\x1bbage\n"),
         ("ann/Maildir/courierimapuiddb", "line 1", "no header", r"gar\x1bbage")),
    Case("uiddb-refused", in_inbox(UID_DATABASE, lambda _: b""), ("the file is empty",)),
    Case("uiddb-refused", in_inbox(UID_DATABASE, lambda _: b"1 0 5\n"), ("UIDVALIDITY",)),
    Case("sizelist-refused", in_inbox(SIZE_LIST, lambda _: b"/9 1 1\n"),
         ("courierpop3dsizelist", "line 1", "unknown version", "9 1 1")),
    Case("control-no-file", with_directory_for(UID_DATABASE), ("ann/Maildir/courierimapuiddb",)),
    Case("keyword-loop",
         lambda s: add_file(s.maildir(BOB) / KEYWORDS / message(s.maildir(BOB)).name),
         ("bob/Maildir/courierimapkeywords/", ":2,")),
    Case("keyword-loop",
         lambda s: add_file(s.maildir(BOB) / KEYWORDS
                            / (".005." + message(s.maildir(BOB)).name.partition(":")[0])),
         ("courierimapkeywords/.005.",)),
    Case("wrong-w", lambda s: rename_message(s.maildir(ANN), lambda n: n.replace(":2,", ",W=3:2,")),
         ("ann/Maildir/cur/", "says W=3")),
    Case("wrong-w", lambda s: rename_message(s.maildir(ANN), lambda n: n.replace(
        ":2,", f",W={message(s.maildir(ANN)).stat().st_size + 1}:2,")),
         ("ann/Maildir/cur/", "says W="), options=("--read-messages",)),
    Case("folder-invalid", lambda s: add_mailbox(os.fsencode(s.maildir(ANN)) + b"/.bad\xff\xfename"),
         (r"ann/Maildir/.bad\xff\xfename", "not UTF-8")),
    Case("symlink-away", linked("/elsewhere"), ("linked", "/elsewhere")),
    Case("symlink-away", lambda s: os.symlink("/elsewhere/.Box", s.maildir(ANN) / ".Box"),
         ("ann/Maildir/.Box", "/elsewhere/.Box")),
    Case("owner-root", own(), ("bob/Maildir", "belongs to root")),
    Case("owner-root", own("courierimapuiddb"), ("courierimapuiddb", "belongs to 0")),
    Case("owner-root", own(".Work"), ("bob/Maildir/.Work",)),
    Case("lock-future", lambda s: add_lock(s.maildir(DAN), "27:otherhost", -7200),
         ("dan/Maildir/tmp/courier.lock", "27:otherhost", "in the future")),
    Case("locks-off", config("IMAP_USELOCKS=0\nIMAP_KEYWORDS=1\n"), ("IMAP_USELOCKS", "0"),
         options=CONFIG),
    Case("locks-off", config("IMAP_USELOCKS=\nIMAP_KEYWORDS=1\n"), ("IMAP_USELOCKS",),
         options=CONFIG),
    Case("uiddb-damaged", in_inbox(UID_DATABASE, appended(b"nonsense\n")),
         ("courierimapuiddb", "line 9", "not 'UID NAME'", "nonsense")),
    Case("uiddb-damaged", in_inbox(UID_DATABASE, lambda c: c[:-1]), ("no newline",)),
    Case("next-uid", in_inbox(UID_DATABASE,
                              lambda c: c.replace(b" " + c.split()[2] + b"\n", b" 3\n", 1)),
         ("courierimapuiddb", "line 1", "NEXTUID")),
    Case("same-uid", in_inbox(UID_DATABASE, lambda c: c.replace(b"\n5 ", b"\n6 ")),
         ("courierimapuiddb", "UID 6"), count=2),
    Case("sizelist-damaged", in_inbox(SIZE_LIST, appended(b"nonsense\n")),
         ("courierpop3dsizelist", "cannot be read", "nonsense")),
    Case("sizelist-old", in_inbox(SIZE_LIST, of_version_1), ("ann/Maildir", "version 1")),
    Case("sizelist-old", in_inbox(SIZE_LIST, lambda c: b"".join(
        line.rpartition(b" ")[0] + b"\n" for line in c.splitlines()[1:])), ("version 0",)),
    Case("keywords-damaged", in_inbox(KEYWORDS + "/:list", appended(b"nobase\n")),
         ("courierimapkeywords/:list", "not BASE:NUMBERS", "nobase")),
    Case("keywords-damaged", in_inbox(KEYWORDS + "/:list", appended(b"1700000000.x:99\n")),
         ("no keyword has this number", "1700000000.x:99")),
    Case("keywords-many", lambda s: keyword_list(s.maildir(ANN), [f"k{n}" for n in range(27)]),
         ("ann/Maildir", "27 keywords")),
    Case("keywords-off", config("IMAP_USELOCKS=1\nIMAP_KEYWORDS=0\n"), ("IMAP_KEYWORDS", "0"),
         options=CONFIG),
    Case("subscriptions-damaged", in_inbox(SUBSCRIPTIONS, appended(b"INBOX.\xff\n")),
         ("courierimapsubscribed", "not UTF-8", r"INBOX.\xff")),
    Case("subscriptions-damaged", in_inbox(SUBSCRIPTIONS, appended(b"Sent\n")),
         ("not INBOX nor below it", "Sent")),
    Case("subscriptions-shared", in_inbox(SUBSCRIPTIONS, appended(b"#shared.bob.pub\n")),
         ("courierimapsubscribed", "#shared.bob.pub")),
    Case("acl-damaged", in_inbox(".Sent/courierimapacl", appended(b"user=bob\n")),
         ("courierimapacl", "line 3", "no rights", "user=bob")),
    Case("acl-large", in_inbox(".Sent/courierimapacl", appended(
        b"".join(b"user=u%d lr\n" % n for n in range(1100)))), ("ann/Maildir/.Sent/courierimapacl",
                                                              "1102 names")),
    Case("quota-damaged", lambda s: add_file(s.maildir(ANN) / "maildirsize", b"1000S\nwhat\n"),
         ("maildirsize", "line 2", "what")),
    Case("shared-old", shared_folders,
         ("bob/Maildir/shared-maildirs", "1 lines, 1 folders")),
    Case("wrong-s", lambda s: rename_message(
        s.maildir(ANN), lambda n: n.replace(",S=", ",S=1")), ("ann/Maildir/cur/", "says S=1")),
    Case("foreign-flags", lambda s: rename_message(s.maildir(ANN), lambda n: n + "ab"),
         ("ann/Maildir/cur/", "2 letters")),
    Case("odd-name", lambda s: add_file(s.maildir(ANN) / "cur" / ".hidden"),
         ("ann/Maildir/cur/.hidden", "begins with '.'")),
    Case("odd-name", lambda s: rename_message(s.maildir(CEM), lambda n: n.replace(".", "\n", 1)),
         (r"cem/Maildir/cur/1700000100\x0a", "line end")),
    Case("odd-name", lambda s: add_file(s.maildir(ANN) / "cur" / ":1700000000.x"),
         ("begins with ':'",)),
    Case("odd-flags", lambda s: rename_message(
        s.maildir(ANN), lambda n: n.partition(":")[0] + ":1,S"), ("ann/Maildir/cur/", "':1,S'")),
    Case("directory", lambda s: (s.maildir(ANN) / "cur" / "1700000000.dir").mkdir(),
         ("ann/Maildir/cur/1700000000.dir",)),
    Case("no-file", lambda s: os.symlink("x", s.maildir(ANN) / "new" / "1700000000.link"),
         ("ann/Maildir/new/1700000000.link", "a symbolic link")),
    Case("same-base", two_of_a_base, ("ann/Maildir/cur/",)),
    Case("same-base", one_in_new_too, ("ann/Maildir/new/",)),
    Case("far-numbers", lambda s: add_file(s.maildir(ANN) / "cur" / "20260101120000.x:2,", b"x"),
         ("ann/Maildir", "20260101120000.x")),
    Case("folder-utf7", lambda s: add_mailbox(s.maildir(ANN) / ".Gel&APY-scht"),
         ("ann/Maildir/.Gel&APY-scht",)),
    Case("folder-broken", lambda s: add_file(s.maildir(ANN) / ".mailfilter"),
         ("ann/Maildir/.mailfilter", "not a directory")),
    Case("folder-broken", lambda s: (s.folder(BOB, "INBOX.Work") / "cur").rename(
        s.folder(BOB, "INBOX.Work") / "x"), ("bob/Maildir/.Work", "without cur or new")),
    Case("folder-broken", lambda s: (s.folder(BOB, "INBOX.Work") / "tmp").rmdir(),
         ("bob/Maildir/.Work", "without tmp")),
    Case("symlink", linked("example.org"), ("linked", "example.org")),
    Case("symlink", lambda s: os.symlink(".Sent", s.maildir(ANN) / ".Box"),
         ("ann/Maildir/.Box",)),
    Case("owner-mixed", own(".Work", uid=OTHER_UID),
         ("bob/Maildir/.Work", f"belongs to {OTHER_UID}, the maildir to {MAIL_UID}")),
    Case("owner-mixed", give_a_message_away, ("bob/Maildir/cur/", f"{OTHER_UID}")),
    Case("dovecot-differs", lambda s: add_uidlist(s.maildir(ANN), "3 V5 N{n}"),
         ("ann/Maildir/dovecot-uidlist", "UIDVALIDITY is 5 here")),
    Case("dovecot-differs", lambda s: add_uidlist(
        s.maildir(ANN), "3 V{v} N{n}", lambda uid: uid + (50 if uid > 5 else 0)),
         ("have other UIDs", "for Courier")),
    Case("dovecot-differs", lambda s: add_file(s.maildir(ANN) / "dovecot-uidlist", b"garbage\n"),
         ("could not read", "garbage")),
    Case("dovecot-only", lambda s: add_file(s.maildir(CEM) / "dovecot-uidlist", b"3 V1 N1\n"),
         ("cem/Maildir/dovecot-uidlist",)),
    Case("dovecot-left", lambda s: (s.maildir(ANN) / "..DOVECOT-TRASHED").mkdir(),
         ("ann/Maildir/..DOVECOT-TRASHED",)),
    Case("lock-stale", lambda s: add_lock(s.maildir(DAN), "27:otherhost", 500),
         ("dan/Maildir/tmp/courier.lock", "27:otherhost", "seconds old")),
    Case("lock-stale", lambda s: add_lock(s.maildir(DAN), f"{dead_pid()}:{HOST}", 3), (HOST,)),
    Case("lock-held", lambda s: add_lock(s.maildir(DAN), f"{os.getpid()}:{HOST}", 90),
         (f"{os.getpid()}:{HOST}", "90 seconds old")),
    Case("future", lambda s: os.utime(s.maildir(GUS) / "cur", (time.time() + 4000,) * 2),
         ("gus/Maildir/cur", "seconds ahead")),
    Case("config-unclear", config('IMAP_USELOCKS="$LOCKS"\nIMAP_KEYWORDS=1\n'),
         ("IMAP_USELOCKS", "$LOCKS"), options=CONFIG),
]

# Those that need more than a changed store, in test_survey.py.
ELSEWHERE = {"unreadable", "clock", "clock-slight"}
