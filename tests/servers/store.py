"""A store as a mail site has it: written by real Courier, used in every way there is."""

import shutil
from pathlib import Path

from servers.courier import deliver
from servers.courier_files import SIZE_LIST, as_version_2, edit, with_identities
from servers.imap import encode_folder
from servers.lab import as_mail_user, on_server

ANN = "ann@example.org"  # IMAP and POP3; many folders, keywords, subscriptions
BOB = "bob@example.org"  # IMAP only
CEM = "cem@example.org"  # POP3 only
DAN = "dan@example.org"  # never seen by any server; mail in new/ and in cur/
EVE = "eve@example.org"  # IMAP and POP3; an old size list, and mail not yet in it
FAY = "fay@example.net"  # POP3 only; a size list with entries from every age
GUS = "gus@example.net"  # IMAP only; a deep tree
USERS = (ANN, BOB, CEM, DAN, EVE, FAY, GUS)

FOLDERS = {
    ANN: ["Sent", "Drafts", "Entwürfe", "Ablage 2025", "Ablage 2025.Rechnungen",
          "Ablage 2025.Rechnungen.März", "Lists", "Lists.courier-users", "R&D", "日本語",
          "Пошта", "Trash"],
    BOB: ["Sent", "Work", "Work.Plan", "Work.Plan.Old", "to do", "Empty"],
    GUS: ["A", "A.B", "A.B.C", "A.B.C.D", "Å - ångström"],
}

FIRST_TIME = 1_700_000_000


def letter(number, body=None):
    """A message with LF line ends; each number has its own size and its own oddity."""
    bodies = [
        f"Line one of {number}.\n\n.dot-stuffed\n" + "x" * (number % 70) + "\n",
        f"No newline at the end of {number}",
        "Größe: 8 bit text ✓\n" * (number % 9 + 1),
        "A long one.\n" * (100 + number),
    ]
    text = (f"Date: Tue, 14 Nov 2023 22:13:{number % 60:02} +0000\n"
            f"From: Sender {number} <sender{number}@example.org>\n"
            f"To: somebody@example.org\n"
            f"Subject: letter {number}\n"
            f"Message-ID: <{number}@mx.example.org>\n"
            f"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
            f"Content-Transfer-Encoding: 8bit\n\n")
    return (text + (body or bodies[number % len(bodies)])).encode()


class Store:
    """A directory tree DOMAIN/NAME/Maildir."""

    def __init__(self, path):
        self.path = Path(path)

    def maildir(self, user):
        """The top maildir of a user, which is the INBOX."""
        name, _, domain = user.partition("@")
        return self.path / domain / name / "Maildir"

    def folder(self, user, folder="INBOX"):
        """The directory of one of a user's mailboxes, named as IMAP names it."""
        top, _, rest = folder.partition(".")
        if top != "INBOX":
            raise ValueError(folder)
        return self.maildir(user) / ("." + rest) if rest else self.maildir(user)

    def copy(self, lab):
        """A copy with the same times and owners."""
        path = lab.new_directory("store", owned_by_mail_user=True)
        done = lab.run(["cp", "-a", f"{on_server(self.path)}/.", on_server(path)])
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())
        return Store(path)

    def discard(self):
        """Deletes the store."""
        shutil.rmtree(on_server(self.path))


class Builder:
    """Fills an empty store by Courier's own programs."""

    def __init__(self, lab, courier):
        self.store = Store(lab.new_directory("store", owned_by_mail_user=True))
        self._courier = courier
        self._letters = 0

    def add_user(self, user):
        """The user's maildir, made by maildirmake."""
        maildir = self.store.maildir(user)
        with as_mail_user():
            maildir.parent.parent.mkdir(mode=0o700, exist_ok=True)
        self._courier.make_maildir(maildir)
        return maildir

    def deliver(self, user, folder="INBOX", count=1, name=None):
        """Deliveries with names and times of 2023, an hour apart."""
        for _ in range(count):
            self._letters += 1
            message = letter(self._letters)
            when = FIRST_TIME + 3600 * self._letters
            deliver(self.store.folder(user, folder), message, when=when, name=name or (
                f"{when}.H{self._letters * 7919 % 10**6}P{self._letters}.mx.example.org,"
                f"S={len(message)}"))

    def imap(self, user):
        """A session with Courier's IMAP server."""
        return self._courier.imap(self.store.maildir(user))

    def log_in_by_pop3(self, user):
        """A POP3 client that fetches the list and leaves."""
        with self._courier.pop3(self.store.maildir(user)) as pop3:
            pop3.uidls()

    def make_folders(self, user):
        """The user's folders, by CREATE, with mail in most of them."""
        with self.imap(user) as imap:
            for i, folder in enumerate(FOLDERS[user]):
                imap.command("CREATE", encode_folder(f"INBOX.{folder}"))
                if i % 3 != 2:
                    imap.append(f"INBOX.{folder}", letter(500 + i), "\\Seen",
                                f"{i + 1:2}-Feb-2024 10:00:00 +0100")
                    imap.append(f"INBOX.{folder}", letter(600 + i), "\\Draft \\Flagged")


def build(lab, courier):
    """The store: seven users, 30 mailboxes."""
    builder = Builder(lab, courier)
    for user in USERS:
        builder.add_user(user)
    _used_by_both(builder)
    _used_by_imap(builder)
    _used_by_pop3(builder)
    _never_used(builder)
    _old_size_list(builder)
    return builder.store


def _used_by_both(builder):
    builder.deliver(ANN, count=8)
    builder.make_folders(ANN)
    with builder.imap(ANN) as imap:
        imap.select("INBOX")
        imap.command("STORE 1:3 +FLAGS (\\Seen)")
        imap.command("STORE 2 +FLAGS (\\Answered $Label1 Junk)")
        imap.command("STORE 3,5 +FLAGS (\\Flagged $Forwarded NonJunk)")
        imap.command("STORE 4 +FLAGS (\\Deleted)")
        imap.command("EXPUNGE")
        imap.command("COPY 1:3", encode_folder("INBOX.Lists.courier-users"))
        imap.select("INBOX.Lists.courier-users")
        imap.command("STORE 2 +FLAGS (Receipt/Handled $MDNSent)")
        for folder in ["Sent", "Entwürfe", "R&D", "Ablage 2025.Rechnungen.März", "日本語"]:
            imap.command("SUBSCRIBE", encode_folder(f"INBOX.{folder}"))
        imap.command("SUBSCRIBE INBOX")
    builder.log_in_by_pop3(ANN)
    builder.deliver(ANN, "INBOX.Lists", count=3)
    builder.deliver(ANN, count=2)


def _used_by_imap(builder):
    builder.deliver(BOB, count=5)
    builder.make_folders(BOB)
    with builder.imap(BOB) as imap:
        imap.select("INBOX")
        imap.command("STORE 1:5 +FLAGS (\\Seen)")
        imap.command("STORE 5 +FLAGS (Later)")
        imap.command("STORE 1 +FLAGS (\\Deleted)")
        imap.command("EXPUNGE")
        imap.command("SUBSCRIBE", encode_folder("INBOX.to do"))
        # Merged by no later scan: it stays a pending update.
        imap.command("STORE 2 +FLAGS (Pending)")
    builder.make_folders(GUS)
    builder.deliver(GUS, "INBOX.A.B.C", count=4)
    with builder.imap(GUS) as imap:
        imap.select("INBOX.A.B.C")
        imap.command("STORE 2:4 +FLAGS ($Label1 $Label2 $Label3 $Label4 $Label5)")
        imap.command("STORE 3 -FLAGS ($Label2)")
    builder.deliver(GUS, count=2)


def _used_by_pop3(builder):
    # In this order by name, but in another one for POP3, where a comma sorts before a colon.
    for name in ("1700000100.M9P1.mx", "1700000100.M9P1.mx,S=5", "1700000100.M10P1.mx",
                 "1700000100.~", "1700000100.é", "1700000200.a b", "1700000200.a+b"):
        builder.deliver(CEM, name=name)
    builder.log_in_by_pop3(CEM)
    builder.deliver(CEM, name="1700000150.late")
    builder.log_in_by_pop3(CEM)

    builder.deliver(FAY, count=3)
    builder.deliver(FAY, name="1700000300.with space")
    builder.log_in_by_pop3(FAY)
    edit(builder.store.maildir(FAY) / SIZE_LIST,
         lambda content: with_identities(content, [b"0:0", b"7:0"]))
    builder.deliver(FAY, count=2)


def _never_used(builder):
    builder.deliver(DAN, count=3)
    with as_mail_user():
        maildir = builder.store.maildir(DAN)
        for i, waiting in enumerate(sorted((maildir / "new").iterdir())[:2]):
            waiting.rename(maildir / "cur" / f"{waiting.name}:2,{'S' * i}")


def _old_size_list(builder):
    builder.deliver(EVE, count=4)
    with builder.imap(EVE) as imap:
        imap.select("INBOX")
        imap.command("STORE 2 +FLAGS (\\Seen \\Answered)")
    builder.log_in_by_pop3(EVE)
    edit(builder.store.maildir(EVE) / SIZE_LIST,
         lambda content: as_version_2(with_identities(content, [b"0:0", b"40:0"])))
    builder.deliver(EVE, count=2)
