"""What the store's own files did: every version of each uid database and of the size list, every
renamed or deleted message, every lock taken; and by whom.

What clients were told can then be held against what was saved. The programs themselves write it
down, by recorder.c, which is loaded into courierfs and into Courier's servers: nothing is missed,
however soon it is replaced, and nothing is guessed.
"""

import os
import re
import threading
import time
from dataclasses import dataclass, field

from servers.courier_files import SIZE_LIST, UID_DATABASE, SizeList, UidDatabase, base_name
from servers.lab import MAIL_GID, MAIL_UID
from soak.history import DatabaseVersion, FileStep, SizeListVersion

SOURCE = os.path.join(os.path.dirname(__file__), "recorder.c")
TOKEN = re.compile(rb"^Message-ID: <([\w.-]+)@soak", re.MULTILINE | re.IGNORECASE)

FLAGS = {"D": "\\draft", "F": "\\flagged", "R": "\\answered", "S": "\\seen", "T": "\\deleted"}


@dataclass
class Mailbox:
    """A mailbox as last seen."""

    name: str
    path: object
    uidvalidity: int = 0
    uids: dict = field(default_factory=dict)
    uidls: dict = field(default_factory=dict)


def flags_of(name):
    """The flags in a message's file name, as IMAP calls them, in lower case; Dovecot's letters
    for keywords as they are."""
    letters = name.rpartition(":2,")[2] if ":2," in name else ""
    return [FLAGS.get(letter, letter) for letter in letters]


class Witness(threading.Thread):
    """Reads what the recorder wrote while it is written."""

    def __init__(self, lab, maildir, record):
        super().__init__(name="witness", daemon=True)
        self._maildir = maildir
        self._record = record
        self._library = lab.path / "recorder.so"
        done = lab.run(["gcc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-Wall", "-Wextra",
                        "-Werror", SOURCE, "-o", self._library, "-ldl"])
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())
        self._directory = lab.new_directory("record", owned_by_mail_user=True)
        log = self._directory / "log"
        log.touch(mode=0o666)
        os.chown(log, MAIL_UID, MAIL_GID)
        self._log = open(log, "rb")  # pylint: disable=consider-using-with
        self._half_line = b""
        self._mailboxes = {}
        self._tokens = {}  # base name: token
        self._ending = threading.Event()

    def environment(self, preloaded=()):
        """What a program needs in its environment to be recorded."""
        return {"LD_PRELOAD": ":".join([*preloaded, str(self._library)]),
                "SOAK_RECORD": str(self._directory)}

    def end(self):
        """Stops; returns when everything was read."""
        self._ending.set()
        self.join()
        self._read()
        self._log.close()

    def run(self):
        while not self._ending.wait(0.05):
            self._read()

    def _read(self):
        *lines, self._half_line = (self._half_line + self._log.read()).split(b"\n")
        for line in lines:
            start, end, pid, program, what, directory, *words = os.fsdecode(line).split("\t")
            self._step(int(start) / 1e9, int(end) / 1e9, f"{program}:{pid}", what,
                       self._mailbox(directory), words)

    def _mailbox(self, directory):
        if directory == self._maildir.name:
            directory = ""
        if directory not in self._mailboxes:
            path = self._maildir / directory if directory else self._maildir
            self._mailboxes[directory] = Mailbox("INBOX" + directory, path)
        return self._mailboxes[directory]

    def _step(self, start, end, by, what, mailbox, words):
        if what == "version":
            saved = self._directory / words[1]
            if words[0] == UID_DATABASE:
                self._database(start, end, by, mailbox, saved)
            elif words[0] == SIZE_LIST:
                self._size_list(start, end, by, mailbox, saved)
            saved.unlink()
        elif what == "keywords":
            saved = self._directory / words[1]
            keywords = os.fsdecode(saved.read_bytes()).split("\n")
            saved.unlink()
            self._record(FileStep(start, end, by, what, mailbox.name, words[0],
                                  words=[word.lower() for word in keywords if word]))
        else:
            place, name = words
            part, _, former = place.partition("/")
            self._record(FileStep(start, end, by, what, mailbox.name, base_name(name), part,
                                  flags_of(name), flags_of(former)))

    def _database(self, start, end, by, mailbox, saved):
        database = UidDatabase.parse(saved.read_bytes())
        if database.uidvalidity != mailbox.uidvalidity:
            mailbox.uids = {}
        added = [(uid, base) for base, uid in database.uids.items()
                 if mailbox.uids.get(base) != uid]
        gone = [(uid, base) for base, uid in mailbox.uids.items()
                if database.uids.get(base) != uid]
        alive = self._living(mailbox) if gone else set()
        mailbox.uids, mailbox.uidvalidity = database.uids, database.uidvalidity
        self._record(DatabaseVersion(
            start, end, by, mailbox.name, database.uidvalidity, database.next_uid,
            [(uid, base, self._token(mailbox, base)) for uid, base in added],
            [(uid, base, self._tokens.get(base), base in alive) for uid, base in gone]))

    def _size_list(self, start, end, by, mailbox, saved):
        uidls = SizeList.parse(saved.read_bytes()).uidls
        added = [(uidl, base, self._token(mailbox, base)) for base, uidl in uidls.items()
                 if mailbox.uidls.get(base) != uidl]
        gone = [(uidl, base) for base, uidl in mailbox.uidls.items() if uidls.get(base) != uidl]
        alive = self._living(mailbox) if gone else set()
        removed = [(uidl, base, self._tokens.get(base), base in alive) for uidl, base in gone]
        mailbox.uidls = uidls
        self._record(SizeListVersion(start, end, by, mailbox.name, added, removed))

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
