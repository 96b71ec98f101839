"""Courier's uid database and size list, read and edited for tests."""

import os
import re
from dataclasses import dataclass

from servers.lab import as_mail_user

UID_DATABASE = "courierimapuiddb"
SIZE_LIST = "courierpop3dsizelist"
SUBSCRIPTIONS = "courierimapsubscribed"
KEYWORDS = "courierimapkeywords"


def base_name(name):
    """A message's file name up to its first colon."""
    return name.partition(":")[0]


def messages(folder):
    """The base names in cur/ and new/ of a mailbox."""
    return {base_name(name) for part in ("cur", "new") for name in os.listdir(folder / part)}


@dataclass
class UidDatabase:
    """The contents of a sound uid database."""

    uidvalidity: int
    next_uid: int
    uids: dict

    @classmethod
    def read(cls, folder):
        """The uid database of a mailbox, or None if it has none."""
        path = folder / UID_DATABASE
        return cls.parse(path.read_bytes()) if path.exists() else None

    @classmethod
    def parse(cls, content):
        """The uid database of these bytes."""
        header, *lines = os.fsdecode(content).split("\n")[:-1]
        _, uidvalidity, next_uid = header.split()
        uids = {}
        for line in lines:
            uid, _, name = line.partition(" ")
            uids[base_name(name)] = int(uid)
        return cls(int(uidvalidity), int(next_uid), uids)


@dataclass
class SizeList:
    """The contents of a sound size list: {base name: its UIDL}."""

    header: str
    uidls: dict

    @classmethod
    def read(cls, maildir):
        """The size list of a maildir; one without entries if there is no file."""
        path = maildir / SIZE_LIST
        return cls.parse(path.read_bytes()) if path.exists() else cls("", {})

    @classmethod
    def parse(cls, content):
        """The size list of these bytes."""
        header, *lines = os.fsdecode(content).split("\n")[:-1]
        uidls = {}
        for line in lines:
            name, _, identity = line.rsplit(" ", 2)
            number, uidvalidity = identity.split(":")[:2]
            uidls[base_name(name)] = _uidl(base_name(name), number, uidvalidity)
        return cls(header, uidls)


def _uidl(base, number, uidvalidity):
    if number == "0":
        return re.sub(rb"[^\x21-\x7e]|['\"+]", lambda m: b"+%02X" % m.group()[0],
                      os.fsencode(base)).decode()
    return f"UID{number}" if uidvalidity == "0" else f"UID{number}-{uidvalidity}"


def edit(path, change):
    """Replaces a file's content by `change(content)`, as another program would: by rename."""
    with as_mail_user():
        draft = path.with_name(path.name + ".edited")
        draft.write_bytes(change(path.read_bytes()))
        draft.rename(path)


def as_version_2(content):
    """A /3 size list in the form that Courier wrote before 2018."""
    header, *lines = content.split(b"\n")[:-1]
    old = [header.replace(b"/3 ", b"/2 ", 1)] + [line.rpartition(b":")[0] for line in lines]
    return b"\n".join(old) + b"\n"


def with_identities(content, identities):
    """A size list whose first entries are given other N:UIDV pairs, such as 0:0."""
    header, *lines = content.split(b"\n")[:-1]
    for i, identity in enumerate(identities):
        name_and_size, _, last = lines[i].rpartition(b" ")
        utf8 = b":" + last.split(b":")[2] if last.count(b":") == 2 else b""
        lines[i] = name_and_size + b" " + identity + utf8
    return b"\n".join([header, *lines]) + b"\n"
