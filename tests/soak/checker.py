"""Decides, on a whole history, whether any client could have noticed that two servers work here.

`check(history)` answers a Report. It promises to find each of these, and nothing else is
a violation:

    uid-reused        a (mailbox, UIDVALIDITY, UID) named two messages
    uid-changed       a message had two UIDs under one UIDVALIDITY
    uidvalidity       a UIDVALIDITY changed and no client deleted, made or renamed that folder
    uidl-changed      a message had two UIDLs
    uidl-reused       a UIDL named two messages
    pop3-order        POP3 numbered messages in another order than Courier does by name
    flag              a flag or keyword was not what those who changed it left behind
    missing           a stored message that nobody removed was not in a listing
    lost              the same in the final quiet check
    came-back         a removed message was listed again
    twice             a message was twice in one listing
    content           a message had other bytes than the ones that were stored
    line-dropped      a living message was taken out of the uid database or the size list, by
                      courierfs or by a Courier with no race to blame
    folder            a folder or subscription was not as the last change left it
    quota             maildirsize does not say what is stored (quota.py)
    disagree          servers differ in the final quiet check
    refused           a server refused something, or ended a session, with nothing to blame
    stuck             a server gave no answer within the patience of the driver
    oddity            the store or a log has what must not be there

Courier breaks some of these alone. Such cases are counted apart as artefacts, each proven by
what Courier's own program did then in the store (evidence.py); what is not proven is a violation:

    provisional-uid       a UID that Courier told in a session opened by EXAMINE and that no
                          version of the uid database has: EXAMINE saves nothing
    provisional-validity  likewise a UIDVALIDITY, told by Courier, that no version has
    courier-scan          somebody renamed a file while Courier read `cur` under the lock, and
                          Courier's next version of its list lacked that living message. The
                          message is missing from this session's answers, and gets another UID
    courier-listing       somebody renamed a file while Courier listed a mailbox, and the message
                          is missing from this one answer
    courier-keywords      Courier wrote the whole set of a message's keywords, as its session
                          last saw them: what others set meanwhile is undone
    idle-store            Courier acknowledged a STORE and did nothing in the store: its session
                          believed that the message had these flags already, or somebody renamed
                          the file under its hands. Or Dovecot could not rename while its
                          mount was dead: it keeps the flags in its index alone until it can
    pop3-race-courier     two courierpop3d made the list at the same time: what one told its
                          client is not what the other saved
    pop3-race-mixed       the same, between a courierpop3d and a writer behind courierfs
    courier-pop3-dele     courierpop3d acknowledged a DELE of a file that was renamed since its
                          login; it deletes nothing then

Some are not Courier's:

    dovecot-empty-status  Dovecot's STATUS says UIDVALIDITY 0 of a mailbox that this node has no
                          index of yet, while somebody holds the lock; it does so without us, too
    dovecot-late          Dovecot renamed a file for a change of flags that was asked for earlier: a
                          POP3 session leaves \\Seen in its index, for the next program on this node
                          to do, be it a delivery; so does a session whose mount was dead, or that
                          was killed. What others did in between is overruled
    dovecot-busy          a NOOP of Dovecot's showed flags as they were before another node changed
                          them, because its own node had been changing something in the mailbox
                          all the time since: Dovecot then does not look at `cur` again until a
                          second has gone by without, or until the next SELECT
    dovecot-cache         Dovecot complains of the cache of its own index, which a Dovecot of its
                          node that was killed left half replaced, or whose session saw its mount
                          die
    dovecot-create        Dovecot's CREATE says that the mailbox exists already, because another
                          session came into it while it was being made. (On a plain maildir,
                          without us, 122 of 600 such CREATEs, with another session that asks for
                          its STATUS)
    dovecot-delete        a Dovecot was killed while it deleted a mailbox: its node's index says that
                          it is deleted, and it is still there
    dovecot-expunge       somebody else removed a message while a Dovecot did, and it was the
                          mailbox's last: this Dovecot's look at `cur` was before that, its list
                          has the message no more, and what is behind the end of the list stays in
                          its index until it looks again, a second later
    late-in-pop3-order    a message that arrived while Dovecot's POP3 server was logging in is
                          not at its place by name; the next login has it there

A Dovecot whose mount is dead answers from its index. A look during such an outage may show what
the session saw before it.
"""

import bisect
import collections
from dataclasses import dataclass, field

from soak.deeds import BEFORE_ALL, BOUND, Deed, Look, must_be_seen, possible
from soak.evidence import Evidence
from soak.flags import Flags
from soak.history import (
    Change, FolderChange, FolderListing, Listing, Oddity, PopListing, Put, Quota, Removal, Status)
from soak.refusals import Refusals


@dataclass(frozen=True)
class Finding:
    """A violation or an artefact: its kind, what it is about, and a sentence."""

    kind: str
    about: tuple
    text: str


@dataclass
class Report:
    """What the checker found, each (kind, about) once."""

    violations: list = field(default_factory=list)
    artefacts: list = field(default_factory=list)
    records: int = 0
    sightings: int = 0

    def counts(self):
        """{artefact: how many}."""
        return collections.Counter(finding.kind for finding in self.artefacts)


def pop3_key(base):
    """Courier's order of messages in POP3: the leading number, then bytes as signed characters."""
    digits = ""
    for char in base:
        if not char.isdigit():
            break
        digits += char
    raw = base.encode("utf-8", "surrogateescape") + b":"
    return int(digits or 0), [byte - 256 if byte > 127 else byte for byte in raw]


class Checker:
    """The rules; one instance judges one history."""

    def __init__(self, history, bound):
        self.bound = bound
        self.report = Report(records=len(history))
        self._known = set()
        self.by_kind = collections.defaultdict(list)
        for record in history:
            self.by_kind[type(record)].append(record)
        for records in self.by_kind.values():
            records.sort(key=lambda record: record.start)
        self.evidence = Evidence(self.by_kind)
        self._read_changes()
        self._read_looks()
        self.flags = Flags(self.evidence, self.changes, self.looks, bound)

    # ---- what happened, to be asked ---------------------------------------------------------

    def _read_changes(self):
        self.puts = {}
        self.removals = collections.defaultdict(list)
        self.expunges = collections.defaultdict(list)  # token: in whatever mailbox
        self.changes = collections.defaultdict(list)
        self.folder_changes = collections.defaultdict(list)
        for put in self.by_kind[Put]:
            self.puts[put.mailbox, put.token] = put
        for removal in self.by_kind[Removal]:
            for token in removal.tokens:
                self.removals[removal.mailbox, token].append(removal)
                if removal.how == "expunge":
                    self.expunges[token].append(removal)
        for change in self.by_kind[Change]:
            self.changes[change.mailbox, change.token].append(change)
        for change in self.by_kind[FolderChange]:
            if change.how in ("create", "delete", "rename"):
                self.folder_changes[change.mailbox].append(change)
                if change.new_name:
                    self.folder_changes[change.new_name].append(change)

    def _read_looks(self):
        """How fresh each listing must be: one that met an outage, as the session's last."""
        self.looks = {}  # id(listing): Look
        last = {}
        for kind in (Listing, FolderListing):
            for listing in self.by_kind[kind]:
                key = (listing.by, getattr(listing, "mailbox", None))
                outage = self.evidence.outage_of(listing)
                if outage is None:
                    last[key] = listing.start
                start = listing.start if outage is None else \
                    last.get(key, min(listing.start, outage.start))
                self.looks[id(listing)] = Look(start, listing.end,
                                               self.evidence.index_of(listing))
        for listing in self.by_kind[PopListing]:
            self.looks[id(listing)] = Look(listing.start, listing.end,
                                           self.evidence.index_of(listing))

    def _must_be_seen(self, record, listing):
        deed = self._deed(record, None, True)
        return must_be_seen(deed, self.looks[id(listing)], self.bound)

    def _deed(self, record, value, sure):
        return Deed(record, value, sure, self.evidence.index_of(record))

    def _violation(self, kind, about, text):
        self._note(self.report.violations, kind, about, text)

    def _artefact(self, kind, about, text):
        self._note(self.report.artefacts, kind, about, text)

    def _note(self, findings, kind, about, text):
        if (kind, about) not in self._known:
            self._known.add((kind, about))
            findings.append(Finding(kind, about, text))

    def judge(self):
        """Applies every rule; the Report."""
        self._lists()
        self._uids()
        self._validities()
        self._uidls()
        self._pop3_order()
        for listing in self.by_kind[Listing] + self.by_kind[PopListing]:
            self.report.sightings += len(listing.messages)
            self._one_listing(listing)
        self._all_absences()
        self._folders()
        self._quiet()
        for kind, about, text in Refusals(self.evidence, self.by_kind).findings():
            note = self._artefact if kind.startswith("dovecot-") else self._violation
            note(kind, about, text)
        for quota in self.by_kind[Quota]:
            if quota.counted != quota.stored:
                self._violation("quota", (quota.by, quota.what, quota.start),
                                f"after {quota.what} by {quota.by} at {quota.end:.3f} maildirsize "
                                f"says {quota.counted}, and {quota.stored} is stored")
        for oddity in self.by_kind[Oddity]:
            if self.evidence.is_torn_cache(oddity) or self.evidence.is_deleted_cache(oddity):
                self._artefact("dovecot-cache", (oddity.text,), oddity.text)
            else:
                self._violation("oddity", (oddity.text,), oddity.text)
        return self.report

    # ---- promise one: UIDs ------------------------------------------------------------------

    def _lists(self):
        for drop in self.evidence.drops:
            version = drop.version
            text = (f"{version.by} at {version.end:.3f} took {drop.identity} of {drop.base} "
                    f"({drop.token}) out of {version.mailbox}'s list")
            about = (version.mailbox, drop.token, drop.identity)
            if drop.raced:
                self._artefact("courier-scan", about, text)
            else:
                self._violation("line-dropped", about, text)

    def _uid_claims(self):
        """Every (record, mailbox, UIDVALIDITY, UID, token) that anybody was told."""
        for listing in self.by_kind[Listing]:
            for sighting in listing.messages:
                if sighting.token is not None:
                    yield (listing, listing.mailbox, listing.uidvalidity, sighting.uid,
                           sighting.token)
        for put in self.by_kind[Put]:
            if put.uid is not None:
                yield put, put.mailbox, put.uidvalidity, put.uid, put.token

    def _is_provisional(self, told, key):
        return not self.evidence.is_saved(*key) and all(
            record.is_courier and getattr(record, "read_only", False) for record in told)

    def _uids(self):
        tokens = collections.defaultdict(lambda: collections.defaultdict(list))
        uids = collections.defaultdict(lambda: collections.defaultdict(list))
        for record, mailbox, validity, uid, token in self._uid_claims():
            tokens[mailbox, validity, uid][token].append(record)
            uids[mailbox, validity, token][uid].append(record)
        for (mailbox, validity, uid), named in tokens.items():
            firm = {token: told for token, told in named.items()
                    if not self._is_provisional(told, (mailbox, validity, uid, token))}
            if len(firm) > 1:
                self._violation("uid-reused", (mailbox, validity, uid),
                                f"{mailbox}: UID {uid} of {validity} named {told_by(firm)}")
            elif len(named) > 1:
                self._artefact("provisional-uid", (mailbox, validity, uid),
                               f"{mailbox}: UID {uid} of {validity} named {told_by(named)}")
        for (mailbox, validity, token), had in uids.items():
            if len(had) == 1:
                continue
            firm = {uid: told for uid, told in had.items()
                    if not self._is_provisional(told, (mailbox, validity, uid, token))}
            text = f"{mailbox}: {token} had the UIDs {told_by(had)} under {validity}"
            if len(firm) < 2:
                self._artefact("provisional-uid", (mailbox, validity, token), text)
            elif self._all_but_last_dropped(mailbox, token, firm):
                self._artefact("courier-scan", (mailbox, token), text)
            else:
                self._violation("uid-changed", (mailbox, validity, token), text)

    def _all_but_last_dropped(self, mailbox, token, uids):
        """Whether all these UIDs but one were lost to races of Courier's."""
        return all(self.evidence.was_dropped(mailbox, token, uid) for uid in sorted(uids)[:-1])

    def _validities(self):
        told = collections.defaultdict(list)
        for kind in (Listing, Status):
            for record in self.by_kind[kind]:
                told[record.mailbox].append(record)
        for mailbox, records in told.items():
            firm = []
            for record in records:
                if record.uidvalidity == 0 and isinstance(record, Status) and \
                        not record.is_courier and \
                        self.evidence.was_locked(mailbox, record.start, record.end):
                    self._artefact("dovecot-empty-status", (mailbox, record.start),
                                   f"{record.by} told 0 of {mailbox}")
                elif record.is_courier and (mailbox, record.uidvalidity) not in \
                        self.evidence.validities and self._may_be_unsaved(record):
                    self._artefact("provisional-validity", (mailbox, record.uidvalidity),
                                   f"{record.by} told {record.uidvalidity} of {mailbox}")
                else:
                    firm.append(record)
            for before, after in zip(firm, firm[1:]):
                if before.uidvalidity != after.uidvalidity and not any(
                        change.start <= after.end and change.end >= before.start
                        for change in self.folder_changes[mailbox]):
                    self._violation(
                        "uidvalidity", (mailbox, after.uidvalidity),
                        f"{mailbox}: {before.uidvalidity} ({before.by} at {before.start:.3f}) "
                        f"became {after.uidvalidity} ({after.by} at {after.start:.3f})")

    @staticmethod
    def _may_be_unsaved(record):
        return isinstance(record, Status) or record.read_only

    # ---- promise one: UIDLs -----------------------------------------------------------------

    def _uidls(self):
        uidls = collections.defaultdict(lambda: collections.defaultdict(list))
        owners = collections.defaultdict(lambda: collections.defaultdict(list))
        for listing in self.by_kind[PopListing]:
            for sighting in listing.messages:
                if sighting.token is not None:
                    uidls[listing.mailbox, sighting.token][sighting.uidl].append(listing)
                    owners[listing.mailbox, sighting.uidl][sighting.token].append(listing)
        for kind, table, word in (("uidl-changed", uidls, "had the UIDLs"),
                                  ("uidl-reused", owners, "was the UIDL of")):
            for (mailbox, name), told in table.items():
                if len(told) > 1:
                    text = f"{mailbox}: {name} {word} {told_by(told)}"
                    race = self._pop3_race(kind, mailbox, name, told)
                    if race:
                        self._artefact(race, (kind, mailbox, name), text)
                    else:
                        self._violation(kind, (mailbox, name), text)

    def _pop3_race(self, kind, mailbox, name, told):
        """Which races explain that all but one of these were told, or None."""
        found = []
        for key, listings in told.items():
            token, uidl = (name, key) if kind == "uidl-changed" else (key, name)
            race = self._race_of_login(min(listings, key=lambda l: l.start))
            if race is None and self.evidence.was_dropped(mailbox, token, uidl):
                race = "courier-scan"
            if race:
                found.append(race)
        return found[0] if len(found) >= len(told) - 1 else None

    def _race_of_login(self, listing):
        """The race that a courierpop3d's login may have lost or won."""
        program = self.evidence.program_of(listing)
        if not listing.is_courier or program is None:
            return None
        versions = self.evidence.size_lists(listing.mailbox, listing.start, listing.end)
        own = [version.end for version in versions if version.by == program]
        others = [version for version in versions if version.by != program
                  and version.start <= max(own, default=listing.end)]
        if any(not version.is_courier for version in others):
            return "pop3-race-mixed"
        return "pop3-race-courier" if others else None

    def _pop3_order(self):
        for listing in self.by_kind[PopListing]:
            bases = [(self.evidence.base.get((listing.mailbox, s.token)), s.token)
                     for s in listing.messages if s.token is not None]
            known = [(pop3_key(base), token) for base, token in bases if base is not None]
            before = [item for item in known if not self._came_during(listing, item[1])]
            for kind, items in (("pop3-order", before), ("late-in-pop3-order", known)):
                for (one, first), (two, second) in zip(items, items[1:]):
                    if one > two:
                        note = self._violation if items is before else self._artefact
                        note(kind, (listing.mailbox, first, second),
                             f"{listing.by} at {listing.start:.3f} lists {first} before {second}")

    def _came_during(self, listing, token):
        put = self.puts.get((listing.mailbox, token))
        return put is not None and put.end >= listing.start

    # ---- one listing ------------------------------------------------------------------------

    def _one_listing(self, listing):
        seen = collections.defaultdict(list)
        for sighting in listing.messages:
            if sighting.token is None:
                continue
            seen[sighting.token].append(sighting[0])
            self._content(listing, sighting)
            self._presence(listing, sighting.token)
            if getattr(sighting, "flags", None) is not None:
                self._flags(listing, sighting)
        for token, names in seen.items():
            if len(names) > 1:
                self._twice(listing, token, names)

    def _twice(self, listing, token, names):
        text = f"{listing.by} at {listing.start:.3f} lists {token} twice in {listing.mailbox}"
        if isinstance(listing, Listing) and \
                self._all_but_last_dropped(listing.mailbox, token, names):
            self._artefact("courier-scan", (listing.mailbox, token), text)
        else:
            self._violation("twice", (listing.mailbox, token), text)

    def _content(self, listing, sighting):
        put = self.puts.get((listing.mailbox, sighting.token))
        if sighting.digest is not None and put is not None and sighting.digest != put.digest:
            self._violation("content", (listing.mailbox, sighting.token),
                            f"{listing.by} at {listing.start:.3f}: {sighting.token} is "
                            f"{sighting.digest}, not {put.digest}")

    def _presence(self, listing, token):
        """A message that is listed must not have been removed before."""
        for removal in self.removals[listing.mailbox, token]:
            if token not in removal.acknowledged or not self._must_be_seen(removal, listing):
                continue
            about = (listing.mailbox, token)
            text = (f"{token}, which {removal.by} removed from {listing.mailbox} by "
                    f"{removal.how} at {removal.end:.3f}, is listed by {listing.by} at "
                    f"{listing.start:.3f}")
            if removal.program == "courier-pop3" and self.evidence.renamed_by_others(
                    *about, removal, self.evidence.login_of(removal), removal.end):
                self._artefact("courier-pop3-dele", about, text)
            elif removal.is_courier and self.evidence.dropped_in(
                    *about, removal, removal.start, removal.end):
                self._artefact("courier-scan", about, text)
            elif self._is_behind_the_list(removal, listing, token):
                self._artefact("dovecot-expunge", about, text)
            else:
                self._violation("came-back", about, text)

    def _is_behind_the_list(self, removal, listing, token):
        """Whether a Dovecot that expunged a message found that others had, and all that it lists
        behind it is gone, too."""
        about = (listing.mailbox, token)
        if removal.program != "dovecot-imap" or not isinstance(listing, Listing) or \
                listing.start > removal.end + self.bound:
            return False
        index = self.evidence.index_of(removal)
        others = [other for other in self.removals[about] if other.start <= removal.end
                  and (other.is_courier or self.evidence.index_of(other) != index)]
        uid = next(s.uid for s in listing.messages if s.token == token)
        behind = [(listing.mailbox, s.token) for s in listing.messages if s.uid > uid]
        return any(self.evidence.was_unlinked(*about, other.start, other.end) for other in others) \
            and self.evidence.lost_its_line(*about, removal.start, removal.end) \
            and all(any(gone.start <= removal.end for gone in self.removals[message])
                    for message in behind)

    def _all_absences(self):
        """A message that is not listed must not have been there, or have been removed."""
        puts = collections.defaultdict(list)
        for put in self.puts.values():
            if put.acknowledged:
                puts[put.mailbox].append(put)
        listings = collections.defaultdict(list)
        for listing in self.by_kind[Listing] + self.by_kind[PopListing]:
            if listing.complete and all(s.token is not None for s in listing.messages):
                listings[listing.mailbox].append(listing)
        for mailbox, looks in listings.items():
            self._absences(puts[mailbox], sorted(looks, key=lambda look: look.start))

    def _absences(self, puts, listings):
        waiting = sorted(puts, key=lambda put: put.end, reverse=True)
        there = {}
        for listing in listings:
            while waiting and waiting[-1].end < listing.start:
                put = waiting.pop()
                there[put.token] = put
            seen = {s.token for s in listing.messages}
            for token in [token for token in there if token not in seen]:
                put = there[token]
                if self._may_be_gone(put, listing.start):
                    del there[token]  # and so it is for every later look
                elif self._must_be_seen(put, listing) and \
                        not self._may_be_gone(put, listing.end):
                    self._absent(listing, token, put)

    def _may_be_gone(self, put, when):
        """Whether somebody may have removed the message by then."""
        if any(r.start <= when for r in self.removals[put.mailbox, put.token]):
            return True
        if put.flags is None and any(r.start <= put.end for r in self.expunges[put.token]):
            return True  # the copy may have come with \\Deleted, and gone with anybody's EXPUNGE
        return any(c.start <= when and c.end >= put.start and c.how != "create"
                   and c.new_name != put.mailbox for c in self.folder_changes[put.mailbox])

    def _absent(self, listing, token, put):
        about = (listing.mailbox, token)
        text = (f"{token}, put into {listing.mailbox} by {put.by} ({put.how}) at {put.end:.3f}, "
                f"is not listed by {listing.by} at {listing.start:.3f}")
        time = (listing.start, listing.end)
        if listing.quiet:
            self._violation("lost", about, text)
        elif listing.is_courier and self.evidence.dropped_in(*about, listing, *time):
            self._artefact("courier-scan", about, text)
        elif listing.is_courier and self.evidence.renamed_by_others(*about, listing, *time):
            self._artefact("courier-listing", about + (listing.start,), text)
        else:
            self._violation("missing", about, text)

    # ---- promise three: flags ---------------------------------------------------------------

    def _flags(self, listing, sighting):
        about = (listing.mailbox, sighting.token)
        if about in self.puts:
            for kind, flag, text in self.flags.findings(listing, sighting, self.puts[about]):
                note = self._violation if kind == "flag" else self._artefact
                note(kind, about + (flag,), text)

    # ---- promise five, and the end ----------------------------------------------------------

    def _folders(self):
        exists = collections.defaultdict(list)
        subscribed = collections.defaultdict(list)
        for change in self.by_kind[FolderChange]:
            sure = change.acknowledged
            if change.how in ("subscribe", "unsubscribe"):
                subscribed[change.mailbox].append(
                    self._deed(change, change.how == "subscribe", sure))
                continue
            exists[change.mailbox].append(self._deed(change, change.how == "create", sure))
            if change.new_name:
                exists[change.new_name].append(self._deed(change, True, sure))
        for listing in self.by_kind[FolderListing]:
            for table, names, word in ((exists, listing.names, "listed"),
                                       (subscribed, listing.subscribed, "subscribed")):
                for name, deeds in table.items():
                    self._folder(listing, name, deeds, name in names, word)

    def _folder(self, listing, name, deeds, value, word):
        deeds = [Deed(BEFORE_ALL, False, True)] + deeds
        allowed = {d.value for d in possible(deeds, self.looks[id(listing)], self.bound)}
        if value not in allowed:
            state = "" if value else "not "
            self._violation("folder", (name, word), f"{listing.by} at {listing.start:.3f}: "
                                                    f"{name} is {state}{word}")

    def _quiet(self):
        first = {}
        for listing in self.by_kind[Listing]:
            if listing.quiet:
                answer = (listing.uidvalidity, sorted(
                    (s.uid, str(s.token), sorted(f.lower() for f in s.flags or []))
                    for s in listing.messages))
                self._agree(first, ("imap", listing.mailbox), listing, answer)
        for listing in self.by_kind[PopListing]:
            if listing.quiet:
                self._agree(first, ("pop3", listing.mailbox), listing, listing.messages)
        for listing in self.by_kind[FolderListing]:
            if listing.quiet:
                answer = (sorted(listing.names), sorted(listing.subscribed))
                self._agree(first, ("folders",), listing, answer)

    def _agree(self, first, key, listing, answer):
        by, expected = first.setdefault(key, (listing.by, answer))
        if answer != expected:
            self._violation("disagree", key + (by, listing.by),
                            f"{by} and {listing.by} differ in the end: {expected} and {answer}")


def told_by(told):
    """Names with who told them, when first, in a sentence."""
    return ", ".join(f"{name} ({records[0].by} at {records[0].start:.3f})"
                     for name, records in sorted(told.items(), key=lambda i: i[1][0].start))


def check(history, bound=BOUND):
    """Judges a history; a Report."""
    return Checker(history, bound).judge()


def shortest_prefix(history, finding, bound=BOUND):
    """The time up to which the history must be known to find the violation.

    What had begun by then counts, so that nothing that was under way is taken for undone.
    """
    def is_in(records):
        return any((v.kind, v.about) == (finding.kind, finding.about)
                   for v in check(records, bound).violations)

    ordered = sorted(history, key=lambda record: record.start)
    # Most findings are of one mailbox; what happened in others only costs time.
    own = [r for r in ordered if getattr(r, "mailbox", finding.about[0]) == finding.about[0]]
    searched = own if is_in(own) else ordered
    # Not strictly monotone, but good enough to read: the first place found by halving.
    count = bisect.bisect_left(range(len(searched)), True, key=lambda n: is_in(searched[:n + 1]))
    last = searched[min(count, len(searched) - 1)]
    return [record for record in ordered if record.start <= last.start]
