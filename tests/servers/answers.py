"""Everything a client can see of a user's mail, and how two such sights differ."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

KEEPS_NO_FOLDER = {"\\NOSELECT", "\\NONEXISTENT"}


@dataclass(frozen=True)
class Message:
    """One message as IMAP shows it; keywords are among the flags, \\Recent is not."""

    digest: str
    flags: frozenset
    date: float
    size: int


@dataclass
class Folder:
    """One mailbox: {UID: Message}, and the number that the next message may get."""

    uidvalidity: int
    next_uid: int
    messages: dict


@dataclass
class Answers:
    """A user's mail: {name: Folder}, subscribed names, [(UIDL, digest)] in POP3's order."""

    folders: dict
    subscriptions: set
    pop3: list

    def digests(self, folder="INBOX"):
        """{digest: UID} of a mailbox; messages that are equal byte by byte count once."""
        return {m.digest: uid for uid, m in self.folders[folder].messages.items()}


def digest(data):
    """A short name for a message: POP3 adds a last line end where there is none."""
    return hashlib.sha256(data.removesuffix(b"\r\n")).hexdigest()[:12]


def ask_folder(imap, name, read_only=False):
    """One mailbox as an IMAP session shows it."""
    reply = imap.examine(name) if read_only else imap.select(name)
    uidvalidity = int(reply.code("UIDVALIDITY"))
    next_uid = int(reply.code("UIDNEXT") or imap.status(name, "UIDNEXT")["UIDNEXT"])
    messages = {}
    if imap.uids():
        fetched = imap.command("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
        for item in fetched.fetched():
            if "BODY[]" in item:
                messages[int(item["UID"])] = _message(item)
    return Folder(uidvalidity, next_uid, messages)


def _message(item):
    date = datetime.strptime(item["INTERNALDATE"].decode().strip(), "%d-%b-%Y %H:%M:%S %z")
    return Message(digest(item["BODY[]"]),
                   frozenset(f.decode() for f in item["FLAGS"]) - {"\\Recent"},
                   date.timestamp(), int(item["RFC822.SIZE"]))


def subscriptions(imap):
    """The subscribed names. Courier's LSUB also has parents of these, marked \\NoSelect."""
    return {name for name, attributes in imap.folders("LSUB").items()
            if not attributes & KEEPS_NO_FOLDER}


def ask_imap(imap, read_only=False):
    """({name: Folder}, subscribed names) as an IMAP session shows them."""
    names = [name for name, attributes in imap.folders().items()
             if not attributes & KEEPS_NO_FOLDER]
    folders = {name: ask_folder(imap, name, read_only) for name in sorted(names)}
    return folders, subscriptions(imap)


def flags_alone(flags):
    """Those of the flags that are no keywords."""
    return frozenset(flag for flag in flags if flag.startswith("\\"))


def without_keywords(answers):
    """The same answers with flags alone."""
    folders = {name: replace(folder, messages={
        uid: replace(m, flags=flags_alone(m.flags)) for uid, m in folder.messages.items()})
               for name, folder in answers.folders.items()}
    return replace(answers, folders=folders)


def ask_pop3(pop3):
    """[(UIDL, digest of the bytes)] in the order of a POP3 session; marks nothing as seen."""
    return [(uidl, digest(pop3.top(number)))
            for number, uidl in enumerate(pop3.uidls(), start=1)]


def _different_message(before, after):
    for field in ("digest", "flags", "date", "size"):
        was, now = getattr(before, field), getattr(after, field)
        if was != now:
            if field == "flags":
                was, now = sorted(was), sorted(now)
            yield f"{field} {was} became {now}"


def different_folder(name, before, after, same_validity=True):
    """How a mailbox differs; `after` may have a higher UIDNEXT, never a lower one."""
    found = []
    if same_validity and before.uidvalidity != after.uidvalidity:
        found.append(f"{name}: UIDVALIDITY {before.uidvalidity} became {after.uidvalidity}")
    if after.next_uid < before.next_uid:
        found.append(f"{name}: UIDNEXT {before.next_uid} fell to {after.next_uid}")
    for uid in sorted(before.messages.keys() | after.messages.keys()):
        was, now = before.messages.get(uid), after.messages.get(uid)
        if was is None:
            found.append(f"{name}: UID {uid} is new: {now.digest}")
        elif now is None:
            found.append(f"{name}: UID {uid} is gone: {was.digest}")
        else:
            found += [f"{name}: UID {uid}: {text}" for text in _different_message(was, now)]
    return found


def differences(before, after, new_validity=(), unbound=()):
    """How two Answers differ, in words; empty when they are equal.

    `new_validity`: mailboxes that had no UIDVALIDITY yet, so that the two servers could
    only invent one each. `unbound`: digests of messages that had no UIDL yet, likewise.
    """
    found = []
    for name in sorted(before.folders.keys() | after.folders.keys()):
        if name not in after.folders:
            found.append(f"{name}: is gone")
        elif name not in before.folders:
            found.append(f"{name}: is new")
        else:
            found += different_folder(name, before.folders[name], after.folders[name],
                                      same_validity=name not in new_validity)
    for name in sorted(before.subscriptions ^ after.subscriptions):
        state = "no longer" if name in before.subscriptions else "now"
        found.append(f"{name}: {state} subscribed")
    found += _different_pop3(before.pop3, after.pop3, unbound)
    return found


def nothing_in(found, what):
    """Fails with all of `found`, one a line, unless it is empty."""
    if found:
        raise AssertionError("\n  ".join([f"{what}:", *found]))


def same(before, after, what, **invented):
    """Fails with the differences between two Answers, if any."""
    nothing_in(differences(before, after, **invented), what)


def _different_pop3(before, after, unbound):
    """In POP3 the order counts as well: message numbers follow it."""
    if sorted(message for _, message in before) != sorted(message for _, message in after):
        return [f"POP3: other messages: {before} became {after}"]
    found = []
    for number, ((was, old), (now, new)) in enumerate(zip(before, after), start=1):
        if old != new:
            found.append(f"POP3: place {number}: {was} ({old}) became {now} ({new})")
        elif was != now and old not in unbound:
            found.append(f"POP3: message {number}: UIDL {was} became {now}")
    return found
