"""Watches the store's own files: every version of each uid database and of the size list.

What clients were told can then be held against what was saved, and by whom: the name under
which a new version was written in `tmp/` is Courier's or courierfs's.
"""

import ctypes
import ctypes.util
import os
import re
import select
import struct
import threading
import time
from dataclasses import dataclass, field

from servers.courier_files import SIZE_LIST, UID_DATABASE, SizeList, UidDatabase, base_name
from soak.history import DatabaseVersion, SizeListVersion

_IN_MODIFY, _IN_CLOSE_WRITE, _IN_MOVED_FROM, _IN_MOVED_TO, _IN_CREATE = 2, 8, 0x40, 0x80, 0x100
_IN_ISDIR = 0x40000000
_EVENT = struct.Struct("iIII")
_WRITERS = re.compile(r"_(courierfs)_|_(imapuid)_|_(courierlock)")
TOKEN = re.compile(rb"^Message-ID: <([\w.-]+)@soak", re.MULTILINE | re.IGNORECASE)


@dataclass
class Mailbox:
    """A mailbox as last seen."""

    name: str
    path: object
    uidvalidity: int = 0
    next_uid: int = 0
    uids: dict = field(default_factory=dict)
    uidls: dict = field(default_factory=dict)


class Witness(threading.Thread):
    """Writes DatabaseVersion and SizeListVersion records as the files change."""

    def __init__(self, maildir, record):
        super().__init__(name="witness", daemon=True)
        self._maildir = maildir
        self._record = record
        self._libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._watches = {}  # watch descriptor: (Mailbox, part)
        self._tokens = {}  # base name: token
        self._moved = {}  # cookie: the name in tmp/
        self._ending = threading.Event()
        for name in sorted(os.listdir(maildir)):
            if name.startswith(".") and (maildir / name / "cur").is_dir():
                self._adopt(name)
        self._adopt("")

    def _adopt(self, directory):
        path = self._maildir / directory if directory else self._maildir
        mailbox = Mailbox("INBOX" + directory, path)
        mask = _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_MODIFY
        for part in ("", "tmp"):
            watch = self._libc.inotify_add_watch(
                self._inotify, os.fsencode(path / part), ctypes.c_uint32(mask))
            if watch >= 0:
                self._watches[watch] = (mailbox, part)
        self._look_at_database(mailbox, "found")
        self._look_at_size_list(mailbox, "found")

    def end(self):
        """Stops watching; returns when the last change was recorded."""
        time.sleep(0.2)
        self._ending.set()
        self.join()
        os.close(self._inotify)

    def run(self):
        while not self._ending.is_set():
            if select.select([self._inotify], [], [], 0.1)[0]:
                try:
                    data = os.read(self._inotify, 1 << 18)
                except BlockingIOError:
                    continue
                self._events(data)

    def _events(self, data):
        at = 0
        while at < len(data):
            watch, mask, cookie, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            name = os.fsdecode(data[at:at + length].rstrip(b"\0"))
            at += length
            if watch in self._watches:
                self._event(*self._watches[watch], mask, cookie, name)

    def _event(self, mailbox, part, mask, cookie, name):
        if part == "tmp":
            if mask & _IN_MOVED_FROM:
                self._moved[cookie] = name
            return
        if mask & _IN_ISDIR:
            if mailbox.path == self._maildir and name.startswith(".") and \
                    mask & (_IN_CREATE | _IN_MOVED_TO) and not name.startswith(".."):
                time.sleep(0.05)  # until its maker has filled it
                self._adopt(name)
            return
        if name not in (UID_DATABASE, SIZE_LIST) or mask & _IN_MOVED_FROM:
            return
        if name == UID_DATABASE:
            writer = self._writer(self._moved.pop(cookie, None))
            self._look_at_database(mailbox, writer)
        else:
            draft = self._moved.pop(cookie, None)
            self._look_at_size_list(mailbox, "courierfs" if draft is None or "_courierfs_" in draft
                                    else "courier")

    @staticmethod
    def _writer(draft):
        if draft is None or "_courierfs_" in draft:
            return "courierfs"
        return "courier"

    def _look_at_database(self, mailbox, writer):
        now = time.monotonic()
        try:
            database = UidDatabase.read(mailbox.path)
        except (OSError, ValueError):
            return
        if database is None:
            return
        if database.uidvalidity != mailbox.uidvalidity:
            mailbox.uids = {}
        added = [(uid, base, self._token(mailbox, base)) for base, uid in database.uids.items()
                 if mailbox.uids.get(base) != uid]
        gone = [(uid, base) for base, uid in mailbox.uids.items()
                if database.uids.get(base) != uid]
        alive = self._living(mailbox) if gone else set()
        removed = [(uid, base, self._tokens.get(base), base in alive) for uid, base in gone]
        mailbox.uids = database.uids
        mailbox.uidvalidity, mailbox.next_uid = database.uidvalidity, database.next_uid
        self._record(DatabaseVersion(now, time.monotonic(), writer, mailbox.name,
                                     database.uidvalidity, database.next_uid, added, removed))

    def _look_at_size_list(self, mailbox, writer):
        if mailbox.path != self._maildir:
            return
        now = time.monotonic()
        try:
            uidls = SizeList.read(mailbox.path).uidls
        except (OSError, ValueError):
            return
        added = [(uidl, base, self._token(mailbox, base)) for base, uidl in uidls.items()
                 if mailbox.uidls.get(base) != uidl]
        removed = [(uidl, base, self._tokens.get(base)) for base, uidl in mailbox.uidls.items()
                   if uidls.get(base) != uidl]
        mailbox.uidls = uidls
        if added or removed:
            self._record(SizeListVersion(now, time.monotonic(), writer, mailbox.name, added,
                                         removed))

    @staticmethod
    def _living(mailbox):
        """Base names that have a file now; three listings, because files are being renamed."""
        found = set()
        for _ in range(3):
            for part in ("new", "cur", "new"):
                try:
                    found |= {base_name(name) for name in os.listdir(mailbox.path / part)}
                except OSError:
                    pass
        return found

    def _token(self, mailbox, base):
        """The token in the message's header."""
        for _ in range(3):
            if base in self._tokens:
                break
            for part in ("cur", "new"):
                self._learn(mailbox.path / part)
        return self._tokens.get(base)

    def _learn(self, directory):
        try:
            names = os.listdir(directory)
        except OSError:
            return
        for name in names:
            if base_name(name) in self._tokens:
                continue
            try:
                with open(directory / name, "rb") as message:
                    found = TOKEN.search(message.read(2000))
            except OSError:
                continue
            if found:
                self._tokens[base_name(name)] = found.group(1).decode()
