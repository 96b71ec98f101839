"""What the programs did in the store, as proof.

A history tells what clients saw; whether something strange in it is Courier's own doing is never
guessed here but shown by what Courier's program did at that time, as the witness wrote it down.
"""

import collections
import re
from dataclasses import dataclass

from soak.history import (
    Change, DatabaseVersion, Fault, FileStep, Letters, Login, Oddity, Put, Removal, SizeListVersion)

# How long it takes at most to exchange two files, look, and exchange them back.
EXCHANGE = 0.5
# Dovecot looks again at a `cur` that its own node changed when it did so more than a second ago, in
# whole seconds.
PAUSE = 2.0
# Dovecot replaces the cache of an index by a rename and then writes into the index that it did. One
# that is killed in between leaves a file that is one ahead of what the index says; the next one
# deletes it. (kill -9 behind that rename does it on a plain maildir, without courierfs.) A session
# whose mount died was seen to find the file one behind, once in a million looks; how it came to
# that is not known, but no file of an index is on the mount.
TORN_CACHE = re.compile(
    r"Dovecot: (?P<program>imap|pop3)\([^)]*\)<(?P<pid>\d+)><[^>]*>: Error: "
    r"Mailbox (?P<mailbox>[^:]*): Deleting corrupted cache: reset_id mismatch even after locking "
    r"\(file_seq=(?P<file>\d+) != reset_id=(?P<index>\d+)\)")
# What the others then find of the file that was deleted.
NO_CACHE = re.compile(
    r"Dovecot: (?:imap|pop3)\([^)]*\)<\d+><[^>]*>: Error: Mailbox (?P<mailbox>[^:]*): "
    r"stat\(\) failed with file \S*/dovecot\.index\.cache: No such file or directory")
PROGRAMS = {"courier-imap": "imapd", "courier-pop3": "courierpop3d", "dovecot-imap": "imap",
            "dovecot-pop3": "pop3", "courierfs": "courierfs"}


@dataclass(frozen=True)
class Drop:
    """A program took a living message out of a list of its."""

    version: object
    identity: object  # the UID, or the UIDL
    base: str
    token: str
    raced: bool  # Courier did it, and somebody renamed the file while Courier was looking, or
    # entered it in the size list, which has no lock


def overlap(step, start, end):
    """Whether a step may have happened in this time."""
    return step.start <= end and step.end >= start


class Evidence:
    """Answers questions about one history."""

    def __init__(self, by_kind):
        self._by_kind = by_kind
        self._logins = {login.by: login for login in by_kind[Login]}
        self._programs = collections.defaultdict(list)  # name, pid and host: Logins, by time
        for login in by_kind[Login]:
            self._programs[self._program(login)].append(login)
        self._steps = collections.defaultdict(list)  # (what, mailbox, base)
        self._locks = collections.defaultdict(list)  # mailbox
        for step in by_kind[FileStep]:
            if step.what in ("lock", "unlock"):
                self._locks[step.mailbox].append(step)
            else:
                self._steps[step.what, step.mailbox, step.base].append(step)
        self.outages = [fault for fault in by_kind[Fault] if fault.what.startswith("courierfs")]
        self._index_of_session = {}
        self._index_losses = [fault for fault in by_kind[Fault] if fault.what == "Dovecot's index"]
        self._letters = {(record.mailbox, name.lower()): letter for record in by_kind[Letters]
                         for letter, name in record.names.items()}
        self.base = {}  # (mailbox, token)
        self._token = {}  # (mailbox, base)
        for kind in (DatabaseVersion, SizeListVersion):
            for version in by_kind[kind]:
                for _, base, token in version.added:
                    if token is not None:
                        self.base.setdefault((version.mailbox, token), base)
                        self._token[version.mailbox, base] = token
        self._read_database()
        self._read_size_list()
        self._read_own_changes()

    @staticmethod
    def _program(login):
        return f"{PROGRAMS[login.program]}:{login.pid}"

    def program_of(self, record):
        """Who a session's program is in the steps, such as imapd:4711@vm."""
        login = self._logins.get(record.by)
        return self._program(login) if login else None

    def login_of(self, record):
        """When the session began."""
        login = self._logins.get(record.by)
        return login.start if login else record.start

    def index_of(self, record):
        """Which of Dovecot's indexes a record's program works with. Sessions that begin when their
        node's index was lost share nothing with those that live on; one that began in that moment
        shares its own with nobody."""
        login = self._logins.get(record.by)
        if login is None:
            return self._index_in_use(record)
        if record.by not in self._index_of_session:
            self._index_of_session[record.by] = self._index_in_use(login)
        return self._index_of_session[record.by]

    def _index_in_use(self, record):
        lost = [fault for fault in self._index_losses if fault.node == record.node]
        before = sum(fault.end < record.start for fault in lost)
        is_certain = before == sum(fault.start <= record.end for fault in lost)
        return record.node, before if is_certain else record.by

    def _read_own_changes(self):
        """When each index's programs changed something in a mailbox, the last ends first."""
        self._own_changes = collections.defaultdict(list)  # (mailbox, index)
        for kind in (Change, Put, Removal):
            for record in self._by_kind[kind]:
                if record.acknowledged and not record.is_courier:
                    key = record.mailbox, self.index_of(record)
                    self._own_changes[key].append((record.end, record.start))
        for times in self._own_changes.values():
            times.sort(reverse=True)

    def _read_database(self):
        self._saved = set()  # (mailbox, UIDVALIDITY, UID, token); token None: nobody knows whose
        self.validities = set()
        self.drops = []
        self._dropped = collections.defaultdict(list)  # (mailbox, token)
        for version in self._by_kind[DatabaseVersion]:
            self.validities.add((version.mailbox, version.uidvalidity))
            for uid, base, token in version.added:
                token = token or self._token.get((version.mailbox, base))
                self._saved.add((version.mailbox, version.uidvalidity, uid, token))
            for uid, base, token, seen in version.removed:
                if seen or self._was_unlinked_after(version, base):
                    self._drop(version, uid, base, token, self._lock_before(version))

    def _read_size_list(self):
        for version in self._by_kind[SizeListVersion]:
            for uidl, base, token, seen in version.removed:
                if (seen or self._was_unlinked_after(version, base)) and \
                        not self._was_exchanged_back(version, uidl, base):
                    self._drop(version, uidl, base, token, self._start_of(version))

    def _drop(self, version, identity, base, token, since):
        token = token or self._token.get((version.mailbox, base))
        raced = version.is_courier and since is not None and (
            self._renamed(version.mailbox, base, since, version.end, version.by, parts=("cur",))
            or self._was_entered_by_others(version, identity, base, since))
        drop = Drop(version, identity, base, token, raced)
        self.drops.append(drop)
        self._dropped[version.mailbox, token].append(drop)

    def _was_exchanged_back(self, version, uidl, base):
        """Whether courierfs took this entry out and put it back at once, or the other way round:
        it exchanges the list for its own, looks at what came out, and exchanges them back when
        Courier has written another list meanwhile."""
        return not version.is_courier and any(
            other.by == version.by and abs(other.start - version.start) < EXCHANGE
            and [uidl, base] in [list(entry[:2]) for entry in other.added]
            for other in self._by_kind[SizeListVersion] if other is not version)

    def _was_entered_by_others(self, version, identity, base, since):
        """Whether the size list got this entry when the program may have read it already."""
        return isinstance(version, SizeListVersion) and any(
            other.by != version.by
            and [identity, base] in [list(entry[:2]) for entry in other.added]
            for other in self.size_lists(version.mailbox, since, version.end))

    def _was_unlinked_after(self, version, base):
        return any(step.start > version.end
                   for step in self._steps["unlink", version.mailbox, base])

    def _lock_before(self, version):
        """When the program took the lock under which it wrote this version."""
        return max((step.start for step in self._locks[version.mailbox] if step.what == "lock"
                    and step.by == version.by and step.end <= version.start), default=None)

    def _session_at(self, program, when):
        """The Login of the session that a program served then, or None; pids come again."""
        return max((login for login in self._programs[program] if login.start <= when),
                   key=lambda login: login.start, default=None)

    def _start_of(self, version):
        login = self._session_at(version.by, version.end)
        return login and login.start

    def _node_of(self, step):
        """The node of the Dovecot that made a step, or None if it was none or nobody can tell.
        Deliveries do not log in; but they are known, and one node's alone can have been it."""
        if step.by.startswith(("imap:", "pop3:")):
            login = self._session_at(step.by, step.start)
            return login and login.node
        nodes = {put.node for put in self._by_kind[Put] if step.by.startswith("dovecot-lda:")
                 and put.program == "dovecot-lda" and put.mailbox == step.mailbox
                 and overlap(step, put.start, put.end)}
        return nodes.pop() if len(nodes) == 1 else None

    def _renamed(self, mailbox, base, start, end, but_not_by, parts=("cur", "new")):
        return any(overlap(step, start, end) and step.by != but_not_by and step.part in parts
                   for step in self._steps["rename", mailbox, base])

    # ---- questions --------------------------------------------------------------------------

    def is_saved(self, mailbox, validity, uid, token):
        """Whether some version of the uid database may have this."""
        return (mailbox, validity, uid, token) in self._saved or \
            (mailbox, validity, uid, None) in self._saved

    def was_dropped(self, mailbox, token, identity):
        """Whether a race of Courier's cost the message this UID or UIDL."""
        return any(drop.identity == identity and drop.raced
                   for drop in self._dropped[mailbox, token])

    def dropped_in(self, mailbox, token, session, start, end):
        """Whether a race cost the message its line in this time, in a look of this session."""
        return any(drop.raced and overlap(drop.version, start, end)
                   and drop.version.by == self.program_of(session)
                   for drop in self._dropped[mailbox, token])

    def renamed_by_others(self, mailbox, token, session, start, end):
        """Whether another program than the session's renamed the message's file in this time."""
        base = self.base.get((mailbox, token))
        program = self.program_of(session)
        return base is not None and program is not None and \
            self._renamed(mailbox, base, start, end, program)

    def was_unlinked(self, mailbox, token, start, end):
        """Whether the message's file was deleted in this time."""
        base = self.base.get((mailbox, token))
        return any(overlap(step, start, end) for step in self._steps["unlink", mailbox, base])

    def lost_its_line(self, mailbox, token, start, end):
        """Whether the message was taken out of the uid database in this time."""
        base = self.base.get((mailbox, token))
        return any(version.mailbox == mailbox and overlap(version, start, end)
                   and base in [line[1] for line in version.removed]
                   for version in self._by_kind[DatabaseVersion])

    def flag_was_written(self, change, flag, value):
        """Whether the program that acknowledged a change gave the flag this value in the store,
        or nobody can tell."""
        program = self.program_of(change)
        if program is None or (change.mailbox, change.token) not in self.base:
            return True
        return any(overlap(step, change.start, change.end)
                   and (step.by == program if change.is_courier else not step.is_courier)
                   for step in self._writes(change, flag, value))

    def late_writes(self, mailbox, token, flag, changes):
        """The steps in which a program of Dovecot's changed the flag for its node's index: a client
        of that node had asked for it before, perhaps of a session that was killed before it could
        say yes. (step, value) of each."""
        base = self.base.get((mailbox, token))
        mark = flag if flag.startswith("\\") else self._letters.get((mailbox, flag))
        for step in self._steps["rename", mailbox, base]:
            value = mark in step.words
            node = self._node_of(step) if value != (mark in step.former) else None
            if node is not None and any(
                    change.node == node and change.start <= step.start
                    and flag in [f.lower() for f in (change.add if value else change.remove)]
                    for change in changes):
                yield step, value

    def _writes(self, change, flag, value):
        """The steps that gave the flag this value; for Dovecot keywords are courierfs's."""
        base = self.base.get((change.mailbox, change.token))
        what = "rename" if flag.startswith("\\") else "keywords"
        return (step for step in self._steps[what, change.mailbox, base]
                if (flag in step.words) == value)

    def keywords_by_courier(self, mailbox, token):
        """The steps in which Courier wrote the message's whole set of keywords."""
        base = self.base.get((mailbox, token))
        return [step for step in self._steps["keywords", mailbox, base] if step.is_courier]

    def busy_since(self, listing):
        """Since when the node of a Dovecot's NOOP had changed something in the mailbox again and
        again, without a pause after which it looks at what others do there."""
        since = listing.start
        if listing.program != "dovecot-imap" or listing.command != "NOOP":
            return since
        for end, start in self._own_changes[listing.mailbox, self.index_of(listing)]:
            if end < since - PAUSE:
                break
            since = min(since, start)
        return since

    def size_lists(self, mailbox, start, end):
        """The versions of the size list of this time."""
        return [version for version in self._by_kind[SizeListVersion]
                if version.mailbox == mailbox and overlap(version, start, end)]

    def was_locked(self, mailbox, start, end):
        """Whether somebody held the lock at some moment of this time."""
        holder = False
        for step in self._locks[mailbox]:
            if step.start > end:
                break
            if step.end >= start:
                return True
            holder = step.what == "lock"
        return holder

    def is_torn_cache(self, oddity):
        """Whether Dovecot complains of what a Dovecot of its node left that was killed before, or
        of what became of the cache when its mount died."""
        told = TORN_CACHE.fullmatch(oddity.text)
        if told is None or abs(int(told["file"]) - int(told["index"])) != 1:
            return False
        logins = [login for name, logins in self._programs.items() for login in logins
                  if name.startswith(f"{told['program']}:{told['pid']}@")
                  and login.node == oddity.by]
        by = {login.by for login in logins}
        until = max((record.end for records in self._by_kind.values() for record in records
                     if record.by in by), default=float("-inf"))
        since = min((login.start for login in logins), default=float("inf"))
        is_ahead = int(told["file"]) > int(told["index"])
        return any(fault.node == oddity.by and fault.start <= until
                   and (is_ahead and fault.what.startswith("dovecot-")
                        or fault.what.startswith("courierfs") and fault.end >= since)
                   for fault in self._by_kind[Fault])

    def is_deleted_cache(self, oddity):
        """Whether a Dovecot misses a cache that another one of its node has just deleted as torn."""
        told = NO_CACHE.fullmatch(oddity.text)
        if told is None:
            return False
        oddities = self._by_kind[Oddity]
        return any(self.is_torn_cache(other) and other.by == oddity.by
                   and TORN_CACHE.fullmatch(other.text)["mailbox"] == told["mailbox"]
                   for other in oddities[:oddities.index(oddity)])

    def outage_of(self, record, slack=0.0):
        """The outage of the record's mount that it met, or None."""
        return next((outage for outage in self.outages if outage.node == record.node
                     and outage.start <= record.end and record.start <= outage.end + slack), None)
