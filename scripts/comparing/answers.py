"""What a server's answers say: names and lines of IMAP and POP3 made into plain values. No network."""

import base64
import calendar
import functools
import re
import time
from dataclasses import dataclass, field
from typing import NamedTuple

HOLD_NO_MAIL = {"\\NOSELECT", "\\NONEXISTENT"}
_MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"
_DATE = re.compile(rb'INTERNALDATE "([ \d]\d)-(' + b"|".join(re.findall(b"...", _MONTHS))
                   + rb')-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"')


class Odd(Exception):
    """A server's answer is not what the protocol has in this place."""


class Message(NamedTuple):
    """A message as IMAP shows it; keywords are among the flags, \\Recent is not."""

    flags: frozenset
    date: int
    size: int  # None where sizes are not asked for


@dataclass
class Folder:
    """A mailbox: its numbers, its messages by UID, and all keywords that FLAGS names, in lower case."""

    uidvalidity: int
    next_uid: int  # None if the server does not say
    keywords: frozenset
    messages: dict
    repeated: set = field(default_factory=set)  # UIDs that several messages have


@dataclass
class Listing:
    """The names of an account: mailboxes as {key: name on the wire}, names without mail, subscriptions."""

    folders: dict
    without_mail: set
    subscriptions: set


class Namespaces:
    """Makes the names of one server comparable to another's.

    A name becomes a key, a tuple of its parts: ("INBOX", "Work", "Plan") is INBOX.Work.Plan at one
    server and Work/Plan at another, which has no prefix.
    """

    def __init__(self, line):
        pieces = re.findall(rb'NIL|\((?:\((?:"(?:[^"\\]|\\.)*"|[^()"])*\))*\)', line)
        found = [[(decode_name(unquote(prefix)), decode_name(unquote(separator)))
                  for prefix, separator in
                  re.findall(rb'\(("(?:[^"\\]|\\.)*") ("(?:[^"\\]|\\.)*"|NIL)', piece)]
                 for piece in pieces]
        if len(found) != 3:
            raise Odd(f"its NAMESPACE is {line!r}")
        self._main = found[0][0] if found[0] else ("", None)
        self._further = found[0][1:]
        self.others = [prefix for prefix, _ in found[1] + found[2] if prefix]

    def key(self, name, separator):
        """The key of a name, and whether it is the account's own."""
        if name.upper() == "INBOX":
            return ("INBOX",), True
        for prefix in self.others:
            if name.startswith(prefix) or name + separator == prefix:
                return _parts(name, separator), False
        for prefix, _ in self._further:
            if prefix and name.startswith(prefix):
                return _parts(name, separator), True
        prefix, _ = self._main
        head = name[:len(prefix)]
        if head == prefix or head.upper() == prefix.upper() == "INBOX" + separator:
            return ("INBOX", *_parts(name[len(prefix):], separator)), True
        return _parts(name, separator), False


def _parts(name, separator):
    return tuple(name.split(separator)) if separator else (name,)


def unquote(raw):
    """An atom or a quoted string of IMAP as the bytes that it stands for."""
    if raw[:1] == b'"' and raw[-1:] == b'"' and len(raw) > 1:
        return re.sub(rb"\\(.)", rb"\1", raw[1:-1])
    return b"" if raw == b"NIL" else raw


def quote(text):
    """A quoted string of IMAP."""
    raw = text if isinstance(text, bytes) else text.encode()
    return b'"' + re.sub(rb'([\\"])', rb"\\\1", raw) + b'"'


def decode_name(raw):
    """A mailbox name from modified UTF-7; one that is not valid is shown as it is."""
    def decode_run(match):
        if not match.group(1):
            return "&"
        run = match.group(1).replace(",", "/")
        return base64.b64decode(run + "=" * (-len(run) % 4), validate=True).decode("utf-16-be")

    try:
        return re.sub("&([^-]*)-", decode_run, raw.decode("ascii"))
    except ValueError:
        return raw.decode("utf-8", "backslashreplace")


def parse_list(items):
    """[(attributes in upper case, separator, name on the wire)] of LIST or LSUB as imaplib has them."""
    found = []
    for item in items:
        if item in (None, b"", b")"):
            continue
        line, literal = item if isinstance(item, tuple) else (item, None)
        match = re.fullmatch(rb'\(([^)]*)\) ("(?:[^"\\]|\\.)*"|NIL) (.*)', line)
        if not match:
            raise Odd(f"a line of its LIST is {line!r}")
        attributes = {word.upper() for word in match.group(1).decode("ascii", "replace").split()}
        name = unquote(match.group(3)) if literal is None else literal
        found.append((attributes, unquote(match.group(2)).decode("ascii", "replace"), name))
    return found


def make_listing(namespaces, listed, subscribed):
    """The Listing that parsed lines of LIST and of LSUB make."""
    listing = Listing({}, set(), set())
    for attributes, separator, name in listed:
        key, own = namespaces.key(decode_name(name), separator)
        if own and attributes & HOLD_NO_MAIL:
            listing.without_mail.add(key)
        elif own:
            listing.folders[key] = name
    for attributes, separator, name in subscribed:
        # Courier's LSUB has parents of subscribed names, too.
        if not attributes & HOLD_NO_MAIL:
            listing.subscriptions.add(namespaces.key(decode_name(name), separator)[0])
    return listing


@functools.lru_cache(maxsize=10000)
def _flags(words):
    return frozenset(word for word in words.decode("utf-8", "backslashreplace").split()
                     if word.upper() != "\\RECENT")


def parse_keywords(line):
    """The keywords of a FLAGS response, in lower case."""
    return frozenset(word.lower() for word in _flags((line or b"").strip(b"()"))
                     if not word.startswith("\\"))


def _seconds(day, month, year, hour, minute, second, sign, zone_hours, zone_minutes):
    """A date's seconds since 1970."""
    away = 3600 * int(zone_hours) + 60 * int(zone_minutes)
    there = calendar.timegm((int(year), _MONTHS.find(month) // 3 + 1, int(day),
                             int(hour), int(minute), int(second)))
    return there + (away if sign == b"-" else -away)


def parse_fetch(lines, with_sizes):
    """({UID: Message}, UIDs that came twice) of FETCH responses as imaplib has them."""
    messages, repeated = {}, set()
    for line in lines:
        if not isinstance(line, bytes):
            raise Odd(f"a line of its FETCH is {line!r}")
        flags = re.search(rb"FLAGS \(([^)]*)\)", line)
        rest = line[:flags.start()] + line[flags.end():] if flags else line
        uid = re.search(rb"UID (\d+)", rest)
        size = re.search(rb"RFC822\.SIZE (\d+)", rest) if with_sizes else None
        date = _DATE.search(rest)
        if not (flags and uid and date and (size or not with_sizes)):
            continue  # the server tells of a change besides
        if int(uid.group(1)) in messages:
            repeated.add(int(uid.group(1)))
        messages[int(uid.group(1))] = Message(_flags(flags.group(1)), _seconds(*date.groups()),
                                              int(size.group(1)) if size else None)
    return messages, repeated


def parse_text(items):
    """The bytes of BODY[] in a FETCH response as imaplib has it."""
    for item in items:
        if isinstance(item, tuple):
            return item[1]
        if item and re.search(rb'BODY\[\] (""|NIL)', item):
            return b""
    raise Odd("it sends no text of the message")


def parse_numbered(lines):
    """The words behind 1, 2, 3 ... of POP3's UIDL or LIST."""
    found = []
    for place, line in enumerate(lines, start=1):
        number, _, word = line.decode("utf-8", "backslashreplace").partition(" ")
        if number != str(place):
            raise Odd(f"message {place} has the line {line!r}")
        found.append(word.strip())
    return found


def show_date(seconds):
    """A date for people, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
