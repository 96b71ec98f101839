"""Mboxes as UW-IMAP keeps them, made at random, and UW-IMAP's own code at work on them."""

import random

from servers.lab import MAIL_GID, MAIL_UID, acting_as

KEYWORDS = ("Foo", "$Label1", "NonJunk", "junk")
INTERNAL = (b"From MAILER-DAEMON Thu Jan  1 10:00:00 2015\n"
            b"Date: 01 Jan 2015 10:00:00 +0000\n"
            b"From: Mail System Internal Data <MAILER-DAEMON@mx.example.org>\n"
            b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n"
            b"Message-ID: <1420106400@mx.example.org>\n"
            b"X-IMAP: %b\nStatus: RO\n\n"
            b"This text is part of the internal format of your mail folder, and is not\n"
            b"a real message.  It is created automatically by the mail system software.\n\n")
DAYS = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")


def from_line(dice, number):
    """A message's first line, each a minute later than the one before."""
    sender = dice.choice(["ann@example.org", "MAILER-DAEMON", '"a b"@example.org', "x"])
    day = number // 1440
    zone = dice.choice(["", "", "", " +0200", " -0700"])
    return (f"From {sender} {DAYS[day % 7]} Jan {day % 28 + 1:2} {number // 60 % 24:02}:"
            f"{number % 60:02}:{dice.randrange(60):02} 2015{zone}\n").encode()


def body(dice):
    """A text with what an mbox makes of it."""
    lines = [dice.choice(["text", "", ">From the start", "From now on", "From Thu Jan  1 2015",
                          ">>From", "x" * 200, "Größe", "Status: RO", "X-UID: seven", "."])
             for _ in range(dice.randrange(12))]
    return "".join(line + "\n" for line in lines).encode()


class Mbox:
    """Messages with the headers of UW-IMAP; `broken`: also such as it never writes."""

    def __init__(self, seed, broken=False, internal=None):
        self._dice = random.Random(seed)
        self._broken = broken
        # Dovecot shows none of a message's keywords if one of them has 8 bits.
        self._keywords = KEYWORDS + (("Größe",) if broken else ())
        self.uidvalidity = self._dice.randrange(1, 1 << 32)
        self._uid = 0
        internal = self._dice.random() < 0.3 if internal is None else internal
        messages = [self._message(number) for number in range(self._dice.randrange(1, 30))]
        last = self._uid + self._dice.randrange(5)
        keywords = " ".join(self._keywords)
        base = f"{self.uidvalidity} {last:010} {keywords}".encode()
        if internal:
            self.data = INTERNAL.replace(b"%b", base) + b"".join(a + b for a, b in messages)
        else:
            first = b"" if broken and self._dice.random() < 0.2 else b"X-IMAPbase: " + base + b"\n"
            # UW-IMAP writes it before X-UID, and forgets an X-UID that comes before it.
            line, _, rest = messages[0][0].partition(b"\n")
            messages[0] = (line + b"\n" + first + rest, messages[0][1])
            self.data = b"".join(a + b for a, b in messages)

    def _uid_header(self, is_new):
        dice = self._dice
        if self._broken and dice.random() < 0.2:
            return dice.choice(["", "X-UID: 0\n", "X-UID: 1\n", "X-UID: \n",
                                f"X-UID: {max(self._uid, 1)}\n"])
        if is_new:
            return ""
        self._uid += dice.choice([1, 1, 1, 2, 50])
        return f"X-UID: {self._uid}\n"

    def _message(self, number):
        dice = self._dice
        keywords = [word for word in self._keywords if dice.random() < 0.3]
        headers = [
            f"Subject: message {number}\n",
            "From: =?utf-8?q?Gr=C3=B6=C3=9Fe?=\n\t<sender@example.org>\n",
            dice.choice(["", "Status: RO\n", "Status: O\n", "Status: R\nX-Status: \n"]),
            "X-Status: " + "".join(c for c in "AFTD" if dice.random() < 0.3) + "   \n",
            "X-Keywords: " + " ".join(keywords) + " " * dice.randrange(9) + "\n",
            self._uid_header(is_new=False),
        ]
        dice.shuffle(headers)
        head = from_line(dice, number) + "".join(headers).encode()
        text = body(dice)
        # Dovecot takes this for a message, UW-IMAP does not.
        if self._broken and dice.random() < 0.2:
            text += b"From x Thu Jan  1 10:00:00 2015 in the middle\n"
        return head, b"\n" + text + b"\n"


def with_dos_ends(data):
    """The same with CR LF."""
    return data.replace(b"\n", b"\r\n")


class UwImap:
    """UW-IMAP's own code (c-client) on the files of the mail user's home directory."""

    def __init__(self, lab):
        self._lab = lab
        self.home = lab.new_directory("uwimap", owned_by_mail_user=True)
        accounts = lab.new_directory("uwimap-accounts")
        accounts.chmod(0o755)
        (accounts / "passwd").write_text(f"uw:x:{MAIL_UID}:{MAIL_GID}::{self.home}:/bin/sh\n")
        (accounts / "group").write_text(f"uw:x:{MAIL_GID}:\n")
        self._environment = {
            "PATH": "/usr/bin:/bin", "HOME": str(self.home), "TZ": "UTC",
            "LD_PRELOAD": "libnss_wrapper.so",
            "NSS_WRAPPER_PASSWD": str(accounts / "passwd"),
            "NSS_WRAPPER_GROUP": str(accounts / "group"),
        }

    def write(self, name, data):
        """Puts an mbox there; its path."""
        with acting_as(MAIL_UID, MAIL_GID):
            (self.home / name).write_bytes(data)
        return self.home / name

    def mailutil(self, *words, expect=0):
        """Runs it; what it said."""
        done = self._lab.run(["/usr/bin/mailutil", *words], uid=MAIL_UID, gid=MAIL_GID,
                             env=self._environment, cwd=self.home)
        text = (done.stdout + done.stderr).decode(errors="replace")
        assert done.returncode == expect, f"mailutil {words}: {done.returncode}: {text}"
        return text

    def settle(self, name):
        """Opens and closes it as a client does: whatever has no UID has one then; in the file, too, if one of
        them has no Status (2007f writes if there is something else to be written)."""
        # There is nothing to prune, which is status 1.
        assert "No matching" in self.mailutil("prune", name, 'from "nobody at all"', expect=1)
