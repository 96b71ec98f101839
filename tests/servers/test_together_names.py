"""A base name alone opens its message, and changes nothing: while all names change below.

`cur/BASE` is whatever BASE:2,FLAGS is called now. Courier and a program rename all messages in a loop,
another program deletes messages and makes new ones, whose base names begin with those of others and
whose files have inode numbers that others had. Whoever reads by base name through the mount gets the
bytes of that message or an error, never other bytes. rename and unlink want the exact name.
"""

import os
import threading
import time

import pytest

from servers.churner import content
from servers.lab import as_mail_user
from servers.together import MIA, add_user, changing_flags, rounds, stopping, working

SECONDS = rounds(6)
# Beginnings of one another, and neighbours in every order.
BASES = [f"1700000000.{rest}" for rest in (
    "a", "a1", "a10", "a1.mx", "a1.mx,S=5", "a1.mx,S=52", "a1.mx!", "a1.mx~", "ab", "A", "b c", "ü")]


def base_of(name):
    """The name without its flags."""
    return name.partition(":")[0]


class Reader:
    """Reads by base name."""

    def __init__(self, cur):
        self._cur = cur
        self.read = self.missed = 0

    def look(self, base):
        """One message, if it can be opened."""
        try:
            found = (self._cur / base).read_bytes()
        except OSError:
            self.missed += 1  # renamed or deleted meanwhile: whoever asks looks again
            return
        assert found == content(base), f"{base}: the bytes of {found[:60]}"
        self.read += 1


def refuses_inexact_names(cur, base):
    """Neither the base name nor wrong flags name a message that shall be changed."""
    for name in (base, f"{base}:2,T"):
        for change in (os.unlink, lambda path: os.rename(path, f"{path}:2,D")):
            with pytest.raises(FileNotFoundError):
                change(f"{cur}/{name}")


def test_base_names_lead_to_their_messages(site, lab, record_property):
    """Every message that is read is the one that was meant, and nothing else is changed."""
    maildir = add_user(site, MIA)
    with as_mail_user():
        for base in BASES:
            (maildir / "cur" / f"{base}:2,").write_bytes(content(base))
    cur = site.seen(MIA) / "cur"
    reader = Reader(cur)
    stop, stores = threading.Event(), []
    with site.courier.imap(maildir) as courier:
        courier.select("INBOX")
        with (working(lab, "churner", maildir) as replaced,
              working(lab, "renamer", maildir) as renamed,
              stopping([changing_flags(courier, stop, stores)], stop)):
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                for base in {*BASES, *map(base_of, os.listdir(cur))}:
                    reader.look(base)
                for base in BASES:
                    refuses_inexact_names(cur, base)
    text = (f"{renamed[0]} renames, {replaced[0]} messages replaced, {len(stores)} STOREs by "
            f"Courier: {reader.read} read by base name, 0 wrong; {reader.missed} not found")
    print(text)
    record_property("names", text)
    assert renamed[0] and replaced[0] and stores and reader.read > 100
    here = {base_of(name) for name in os.listdir(maildir / "cur")}
    assert set(BASES) <= here
    reader.missed = 0
    for base in here:
        reader.look(base)
    assert not reader.missed
    site.agree(MIA)
