"""What a client does while a fault is near, and what it was told meanwhile."""

from dataclasses import dataclass, field

from servers.answers import digest
from servers.courier import deliver
from servers.imap import Refused
from servers.store import letter

IDA = "ida@example.org"  # IMAP only
JAN = "jan@example.org"  # IMAP and POP3, with mail that is not in the size list
LEA = "lea@example.org"  # has no mail yet
KIM = "kim@example.org"  # never seen by any server; mail in new/ and in cur/

# A dead daemon, and a call that failed, as a client may see it.
BROKEN = (EOFError, Refused, ConnectionError)

# ---- what clients were told ----

@dataclass
class Told:
    """What a client was told before the fault, or instead of it."""

    uids: dict = field(default_factory=dict)  # {(folder, UIDVALIDITY, UID): digest}
    uidls: dict = field(default_factory=dict)  # {UIDL: digest}
    validity: dict = field(default_factory=dict)  # {folder: UIDVALIDITY}

    def select(self, imap, folder):
        """Selects a folder and notes every message that the session shows from now on."""
        def hear(response):
            if response.name != "FETCH":
                return
            words = response.values[0]
            item = {words[i].upper(): words[i + 1] for i in range(0, len(words), 2)}
            if b"UID" in item and b"BODY[]" in item:
                key = (folder, self.validity[folder], int(item[b"UID"]))
                self.uids[key] = digest(item[b"BODY[]"])

        imap.witness = hear
        self.validity[folder] = int(imap.select(folder).code("UIDVALIDITY"))

    def assigned(self, folder, code, digests):
        """Notes an APPENDUID or COPYUID."""
        validity, *_, uids = code.split()
        self.validity[folder] = int(validity)
        for uid, message in zip(expand(uids), digests, strict=True):
            self.uids[folder, int(validity), uid] = message

    def broken_by(self, answers, moved, removed):
        """What of it the answers deny, in words."""
        def name(folder):
            return folder if folder in answers.folders else moved.get(folder, folder)

        found = [f"{folder}: UIDVALIDITY {validity} was told" for folder, validity
                 in self.validity.items()
                 if answers.folders[name(folder)].uidvalidity != validity]
        for (folder, _, uid), message in self.uids.items():
            there = answers.folders[name(folder)].messages.get(uid)
            if there is None and message not in removed:
                found.append(f"{folder}: UID {uid} was told and is gone")
            elif there is not None and there.digest != message:
                found.append(f"{folder}: UID {uid} was told for {message}: {there.digest}")
        shown = dict(answers.pop3)
        found += [f"UIDL {uidl} was told for {message}: {shown.get(uidl)}"
                  for uidl, message in self.uidls.items() if shown.get(uidl) != message]
        return found


def wire_digest(message):
    """The digest of a message as IMAP gives it back."""
    return digest(message.replace(b"\n", b"\r\n"))


def expand(numbers):
    """The numbers of a set such as 3,5:7."""
    for part in numbers.split(","):
        first, _, last = part.partition(":")
        yield from range(int(first), int(last or first) + 1)


# ---- what a client does ----

@dataclass
class Change:
    """What an operation changes: all of it when it was answered OK, else any part of it."""

    added: dict = field(default_factory=dict)  # {folder: {digest: its flags, or None}}
    removed: frozenset = frozenset()  # digests
    flags: dict = field(default_factory=dict)  # {digest: flags}
    subscribed: frozenset = frozenset()
    created: frozenset = frozenset()
    moved: dict = field(default_factory=dict)  # {folder: its new name}


class Operation:
    """Something a client does. What happens before `act` happens without faults."""

    template = IDA
    folder = "INBOX"
    # A mailbox that Dovecot makes in several steps; Courier would make it in the same ones. Courier
    # cannot open one that is half made, Dovecot completes it.
    may_be_unfinished = ()
    # Dovecot answers OK to a STORE whose rename failed, and believes its own index from then on.
    index_may_lie = False

    def __init__(self, site, user, before, told):
        self.site = site
        self.user = user
        self.before = before
        self.told = told
        self.session = None

    def start(self):
        """Logs in."""
        self.session = self.site.dovecot.imap(self.user)

    def meanwhile(self):
        """What happens once, after the first login."""

    def by_uid(self):
        """The digests of the folder's messages, in the order of their UIDs."""
        messages = self.before.folders[self.folder].messages
        return [messages[uid].digest for uid in sorted(messages)]

    def act(self):
        """Does it; raises one of BROKEN when the server does not answer OK."""
        raise NotImplementedError

    def again(self):
        """Does what is left of it."""
        self.act()

    def change(self):
        """The Change."""
        return Change()

    def stop(self):
        """Leaves without a word."""
        if self.session:
            self.session.close()


class Selected(Operation):
    """In a mailbox that was selected before."""

    def start(self):
        super().start()
        self.told.select(self.session, self.folder)


class WithCompetitor(Operation):
    """In a mailbox with mail that nobody has seen, and that Courier would number first."""

    target = "INBOX"
    competitor = letter(902)

    def meanwhile(self):
        deliver(self.site.store.folder(self.user, self.target), self.competitor,
                name="1600000000.earlier")

    def added(self):
        """What the change adds besides."""
        return {wire_digest(self.competitor): None}


class Append(WithCompetitor):
    """APPEND with flags and a keyword that the mailbox does not know."""

    message = letter(900)
    flags = frozenset({"\\Seen", "\\Flagged", "NewWord"})

    def act(self):
        reply = self.session.append(self.folder, self.message, " ".join(self.flags))
        self.told.assigned(self.folder, reply.code("APPENDUID"), [wire_digest(self.message)])

    def change(self):
        return Change(added={"INBOX": self.added() | {wire_digest(self.message): self.flags}})


class Arrival(Selected):
    """New mail, seen by NOOP, in a mailbox that POP3 uses, too; and a flag that Courier set, so that
    Dovecot looks at all messages: those that its list lacks then are gone to it for ever."""

    template = JAN
    message = letter(901)

    def meanwhile(self):
        maildir = self.site.store.maildir(self.user)
        with self.site.courier.imap(maildir) as imap:
            imap.select("INBOX")
            imap.command("STORE 1 +FLAGS (\\Flagged)")
        deliver(maildir, self.message)

    def act(self):
        reply = self.session.command("NOOP", expect=None)
        assert not reply.named("EXPUNGE"), reply
        if reply.status != "OK":
            raise Refused(reply)
        self.session.command("UID FETCH 1:* (UID BODY.PEEK[])")

    def change(self):
        return Change(added={"INBOX": {wire_digest(self.message): None}},
                      flags={self.by_uid()[0]: frozenset({"\\Seen", "\\Flagged"})})


class Keyword(Selected):
    """STORE of a flag and of a keyword that the mailbox does not know."""

    index_may_lie = True

    def act(self):
        self.session.command("UID STORE 2 +FLAGS (\\Answered Fresh)")

    def change(self):
        return Change(flags={self.by_uid()[1]: frozenset({"\\Answered", "Fresh", "$Label1"})})


class Copy(WithCompetitor, Selected):
    """COPY of two messages, one with a keyword."""

    target = "INBOX.Target"

    def act(self):
        reply = self.session.command("COPY 1:2 INBOX.Target")
        self.told.assigned("INBOX.Target", reply.code("COPYUID"), self.by_uid()[:2])

    def change(self):
        first, second = self.by_uid()[:2]
        return Change(added={"INBOX.Target": self.added() | {
            first: {"\\Seen"}, second: {"$Label1"}}})


class Expunge(Selected):
    """EXPUNGE of two messages."""

    def start(self):
        super().start()
        self.session.command("UID STORE 2:3 +FLAGS (\\Deleted)")

    def act(self):
        self.session.command("EXPUNGE")

    def change(self):
        return Change(removed=frozenset(self.by_uid()[1:3]),
                      flags={d: frozenset({"\\Deleted", "$Label1"}) for d in self.by_uid()[1:3]})


class Look(Selected):
    """FETCH of everything in a mailbox that another session changed."""

    template = JAN

    def meanwhile(self):
        with self.site.courier.imap(self.site.store.maildir(self.user)) as imap:
            imap.select("INBOX")
            imap.command("STORE 1 +FLAGS (\\Flagged)")

    def act(self):
        self.session.command("NOOP")
        self.session.command("UID FETCH 1:* (UID FLAGS BODY.PEEK[])")

    def change(self):
        return Change(flags={self.by_uid()[0]: frozenset({"\\Seen", "\\Flagged"})})


class Subscribe(Operation):
    """SUBSCRIBE."""

    def act(self):
        self.session.command("SUBSCRIBE INBOX.Target")

    def change(self):
        return Change(subscribed=frozenset({"INBOX.Target"}))


class FirstPop3(Operation):
    """The first POP3 login of a mailbox that only IMAP used: the size list is made."""

    def start(self):
        pass

    def act(self):
        self.session = pop3 = self.site.dovecot.pop3(self.user)
        for number, uidl in enumerate(pop3.uidls(), start=1):
            self.told.uidls[uidl] = digest(pop3.top(number))
        pop3.command("QUIT")


class FirstPop3OfAll(FirstPop3):
    """The same for a mailbox that no server ever saw."""

    template = KIM


class FirstSelect(Operation):
    """The first SELECT of a mailbox without uid database."""

    template = KIM

    def act(self):
        self.told.select(self.session, "INBOX")
        self.session.command("UID FETCH 1:* (UID BODY.PEEK[])")


class Create(Operation):
    """CREATE, and SELECT of what was created."""

    may_be_unfinished = (".Fresh",)

    def act(self):
        self.session.command("CREATE INBOX.Fresh")
        self.told.select(self.session, "INBOX.Fresh")

    def again(self):
        if "INBOX.Fresh" in self.session.folders():
            self.told.select(self.session, "INBOX.Fresh")
        else:
            self.act()

    def change(self):
        return Change(created=frozenset({"INBOX.Fresh"}))


class Rename(Operation):
    """RENAME of a folder."""

    def act(self):
        self.session.command("RENAME INBOX.Target.Sub INBOX.Moved")

    def again(self):
        if "INBOX.Moved" not in self.session.folders():
            self.act()

    def change(self):
        return Change(moved={"INBOX.Target.Sub": "INBOX.Moved"})


OPERATIONS = (Append, Arrival, Keyword, Copy, Expunge, Subscribe, FirstPop3, FirstPop3OfAll,
              FirstSelect, Create, Rename)
# Every step of these is tried.
MOST_IMPORTANT = (Append, Arrival, FirstPop3)
