"""How the answers of two servers differ, and which differences are proven to be none. Pure.

A difference is found again under its `identity`, in which the values do not count: a mailbox may
change between two looks, and still differ.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace

from comparing.answers import show_date

# Dovecot names keywords by the letters a to z in file names.
DOVECOTS_KEYWORDS = 26
SIZES = ("size", "POP3 size")


@dataclass(frozen=True)
class Finding:
    """One difference, or a note on one that is none.

    `item` is the UID or the UIDL that it is about, if it is about a message.
    """

    kind: str
    where: str
    what: str
    values: str
    item: object = None
    why: str = ""
    note: bool = False

    @property
    def identity(self):
        """What makes it the same difference when the servers are asked again."""
        return self.kind, self.where, self.what, self.item

    @property
    def text(self):
        """What differs, without the message."""
        return f"{self.what} {self.values}{self.why}"


def both(courier, dovecot):
    """Two values in words."""
    return f"{courier} at Courier, {dovecot} at Dovecot"


def _only(at_courier):
    return "only at Courier" if at_courier else "only at Dovecot"


def show_key(key):
    """A mailbox's key as Courier names it."""
    return ".".join(key)


def compare_listings(courier, dovecot):
    """Findings on mailboxes and subscriptions."""
    found = []
    for key in sorted(courier.folders.keys() ^ dovecot.folders.keys()):
        found.append(Finding("mailbox", show_key(key), "mailbox", _only(key in courier.folders)))
    for key in sorted(courier.subscriptions ^ dovecot.subscriptions):
        found.append(Finding("subscription", show_key(key), "subscribed",
                             _only(key in courier.subscriptions)))
    bare = ((courier.without_mail - dovecot.without_mail - dovecot.folders.keys())
            | (dovecot.without_mail - courier.without_mail - courier.folders.keys()))
    for key in sorted(bare):
        found.append(Finding("name without mail", show_key(key), "a name that holds no mail",
                             _only(key in courier.without_mail), note=True))
    return found


def compare_folders(where, courier, dovecot):
    """Findings on one mailbox; sizes that differ are differences until `explain` is asked."""
    found = []
    if courier.uidvalidity != dovecot.uidvalidity:
        found.append(Finding("UIDVALIDITY", where, "UIDVALIDITY",
                             both(courier.uidvalidity, dovecot.uidvalidity)))
    elif (courier.next_uid or 0) > (dovecot.next_uid or courier.next_uid or 0):
        found.append(Finding("UIDNEXT", where, "UIDNEXT",
                             both(courier.next_uid, dovecot.next_uid),
                             why="; UIDs that Courier gave out would be given out again"))
    for folder, name in ((courier, "Courier"), (dovecot, "Dovecot")):
        found += [Finding("UID", where, "several messages have it", f"at {name}", item=uid)
                  for uid in sorted(folder.repeated)]
    found += _compare_uids(where, courier.messages, dovecot.messages)
    for uid in sorted(courier.messages.keys() & dovecot.messages.keys()):
        here, there = courier.messages[uid], dovecot.messages[uid]
        if here != there:
            found += _compare_messages(where, uid, here, there, dovecot.keywords)
    return found


def _compare_uids(where, courier, dovecot):
    """Messages that one server lacks. One with date and size of no other may have another UID."""
    ours, theirs = courier.keys() - dovecot.keys(), dovecot.keys() - courier.keys()
    signs = [Counter(messages[uid][1:] for uid in uids)
             for messages, uids in ((courier, ours), (dovecot, theirs))]
    moved = {dovecot[uid][1:]: uid for uid in theirs
             if signs[0][dovecot[uid][1:]] == signs[1][dovecot[uid][1:]] == 1}
    found, paired = [], set()
    for uid in sorted(ours):
        other = moved.get(courier[uid][1:])
        if other is None:
            found.append(Finding("message", where, "message", _only(True), item=uid))
        else:
            paired.add(other)
            found.append(Finding("UID", where, "the same message has another UID:",
                                 both(uid, other), item=uid))
    return found + [Finding("message", where, "message", _only(False), item=uid)
                    for uid in sorted(theirs - paired)]


def _compare_messages(where, uid, courier, dovecot, dovecots_keywords):
    found = []
    if courier.flags != dovecot.flags:
        found += _compare_flags(where, uid, courier.flags, dovecot.flags, dovecots_keywords)
    if courier.date != dovecot.date:
        found.append(Finding("INTERNALDATE", where, "INTERNALDATE",
                             both(show_date(courier.date), show_date(dovecot.date)), item=uid))
    if courier.size != dovecot.size:
        found.append(Finding("size", where, "size", both(courier.size, dovecot.size), item=uid))
    return found


def _compare_flags(where, uid, courier, dovecot, dovecots_keywords):
    here, there = ({word.lower(): word for word in flags} for flags in (courier, dovecot))
    found = []
    for word in sorted(here.keys() ^ there.keys()):
        kind = "flag" if word.startswith("\\") else "keyword"
        beyond = (kind == "keyword" and word in here and word not in dovecots_keywords
                  and len(dovecots_keywords) >= DOVECOTS_KEYWORDS)
        found.append(Finding(
            "keyword beyond Dovecot's limit" if beyond else kind, where,
            here.get(word) or there.get(word), _only(word in here), item=uid, note=beyond,
            why=f"; it shows {DOVECOTS_KEYWORDS} others in this mailbox" if beyond else ""))
    for word in sorted(here.keys() & there.keys()):
        if here[word] != there[word]:
            found.append(Finding("spelling of a keyword", where, "a keyword is",
                                 both(here[word], there[word]), item=uid, note=True))
    return found


def compare_pop3(courier, dovecot):
    """Findings on two lists of (UIDL, size): UIDLs, their order, sizes."""
    ours, theirs = ([uidl for uidl, _ in messages] for messages in (courier, dovecot))
    found = _compare_uidls(courier, dovecot)
    here, there = set(ours), set(theirs)
    common = zip([uidl for uidl in ours if uidl in there],
                 [uidl for uidl in theirs if uidl in here])
    for place, (one, other) in enumerate(common):
        if one != other:
            found.append(Finding("POP3 order", "POP3", "order differs",
                                 f"after {place} messages: {both(one, other)}"))
            break
    if len(here) == len(ours) and len(there) == len(theirs):
        sizes = dict(dovecot)
        found += [Finding("POP3 size", "POP3", "size", both(size, sizes[uidl]), item=uidl)
                  for uidl, size in courier if uidl in sizes and size != sizes[uidl]]
    return found


def _compare_uidls(courier, dovecot):
    """Messages without partner. As many on both sides, with equal sizes, are the same messages."""
    ours = _surplus(courier, dovecot)
    theirs = _surplus(dovecot, courier)
    if [size for _, size in ours] == [size for _, size in theirs]:
        return [Finding("UIDL", "POP3", "the same message has another UIDL:", both(uidl, other),
                        item=uidl) for (uidl, _), (other, _) in zip(ours, theirs)]
    return [Finding("POP3 message", "POP3", "message", _only(messages is ours), item=uidl)
            for messages in (ours, theirs) for uidl, _ in messages]


def _surplus(messages, others):
    """The messages with a UIDL that is not, or not as often, among the others."""
    left = Counter(uidl for uidl, _ in others)
    found = []
    for uidl, size in messages:
        left[uidl] -= 1
        if left[uidl] < 0:
            found.append((uidl, size))
    return found


def plain(text):
    """A text without what the servers do to line ends, to NUL, and at the end of the last line."""
    text = re.sub(rb"\r*\n", b"\n", text.replace(b"\0", b"\x80"))
    return re.sub(rb"(?:\n|\r+)\Z", b"", text)


def explain(finding, courier, dovecot):
    """What the texts say about a size that differs: a note if it is no difference.

    Each side is (size told, text, bytes sent). The told size must be the text's own. POP3 has no
    text without a last line end: the server adds one, after a lone CR which Courier drops.
    """
    added = 3 if finding.kind == "POP3 size" else 0
    for name, (told, _, sent) in (("Courier", courier), ("Dovecot", dovecot)):
        if not 0 <= sent - told <= added:
            return replace(finding, why=f"; {name} sends {sent} bytes")
    if plain(courier[1]) != plain(dovecot[1]):
        return replace(finding, why="; the texts differ")
    return replace(finding, kind="size of the same text", note=True,
                   why="; the texts are equal but for line ends")
