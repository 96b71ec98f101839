"""Stores as Courier leaves them, made directly and always alike: the bench needs many, and large ones."""

import os
import random
from dataclasses import dataclass

from servers.lab import MAIL_GID, MAIL_UID

FIRST_TIME = 1_700_000_000
UIDVALIDITY = 700_000_000
LINE = b"A line of text, as there are many in a message that somebody writes.\n"


@dataclass(frozen=True)
class Shape:
    """What a maildir's mailbox holds."""

    messages: int
    sizes_in_names: bool = True
    bytes: int = 2000


def letter(number, size):
    """A message of about this size, with LF line ends."""
    head = (f"Date: Tue, 14 Nov 2023 22:13:20 +0000\nFrom: a@example.org\nTo: b@example.org\n"
            f"Message-ID: <{number}@bench.example.org>\nSubject: one of many\n\n").encode()
    return head + LINE * max(1, (size - len(head)) // len(LINE))


def base_name(number):
    """As Exim makes one. The digits behind the M must not follow the number: Dovecot's hash of names then
    has so few values that native Dovecot needs a second where it needs milliseconds."""
    drawn = random.Random(number)
    return (f"{FIRST_TIME + 60 * number + drawn.randrange(60)}.M{drawn.randrange(10**6)}"
            f"P{drawn.randrange(2, 1 << 15)}.mx{drawn.randrange(1, 5)}.example.org")


def write_mailbox(path, shape):
    """One mailbox: a fifth of its messages labelled, half of them read, all known to Courier's POP3."""
    for part in ("cur", "new", "tmp", "courierimapkeywords"):
        (path / part).mkdir(parents=True)
    uids, listed, labels = [], [], []
    for number in range(1, shape.messages + 1):
        text = letter(number, shape.bytes)
        wire = len(text) + text.count(b"\n")
        base = base_name(number)
        if shape.sizes_in_names:
            base += f",S={len(text)},W={wire}"
        (path / "cur" / f"{base}:2,{'S' * (number % 2)}").write_bytes(text)
        uids.append(f"{number} {base}\n")
        listed.append(f"{base}:2, {wire} {number}:{UIDVALIDITY}:0\n")
        if number % 5 == 0:
            labels.append(f"{base}:{number % 2}\n")
    count = shape.messages
    files = {
        "courierimapuiddb": f"1 {UIDVALIDITY} {count + 1}\n" + "".join(uids),
        "courierpop3dsizelist": f"/3 {count + 1} {UIDVALIDITY}\n" + "".join(listed),
        "courierimapkeywords/:list": "$Label1\nJunk\n\n" + "".join(labels),
    }
    for name, text in files.items():
        (path / name).write_text(text)


def write_account(path, inbox, folders):
    """A maildir with its folders, {name: Shape}, all subscribed."""
    write_mailbox(path, inbox)
    for name, shape in folders.items():
        write_mailbox(path / f".{name}", shape)
        (path / f".{name}" / "maildirfolder").touch()
    subscribed = "INBOX\n" + "".join(f"INBOX.{name}\n" for name in folders)
    (path / "courierimapsubscribed").write_text(subscribed)
    (path / "courierimapacl").write_text("owner aceilrstwx\nadministrators aceilrstwx\n")


def user_name(number):
    """The name of an account as Dovecot has it."""
    return f"user{number}@{number % 100:02}"


def maildir_of(store, user):
    """Where its maildir is."""
    name, _, domain = user.partition("@")
    return store / domain / name / "Maildir"


def make_store(path, accounts):
    """A store with these accounts, each (Shape of INBOX, {folder: Shape}), the mail user's."""
    path.mkdir()
    os.chown(path, MAIL_UID, MAIL_GID)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgid(MAIL_GID)
            os.setuid(MAIL_UID)
            for number, (inbox, folders) in enumerate(accounts):
                write_account(maildir_of(path, user_name(number)), inbox, folders)
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1] != 0:
        raise RuntimeError("the store could not be made")
    return path
