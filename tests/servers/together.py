"""What the tests of both servers at once share: a user of their own, and words for messages."""

import contextlib
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

from servers.courier import deliver
from servers.imap import Reply
from servers.lab import MAIL_GID, MAIL_UID, PATIENCE, as_mail_user, wait_until
from servers.store import letter

MIA = "mia@example.org"


def add_user(site, user=MIA, folders=()):
    """A user that the store does not have yet, with folders made by Courier; the maildir."""
    maildir = site.store.maildir(user)
    with as_mail_user():
        maildir.parent.parent.mkdir(mode=0o700, exist_ok=True)
    site.courier.make_maildir(maildir)
    if folders:
        with site.courier.imap(maildir) as imap:
            for folder in folders:
                imap.command("CREATE", f'"{folder}"')
    return maildir


def add_large_user(site, count, user=MIA):
    """A user with so many messages that have UIDs, one of them from Courier; the maildir."""
    maildir = add_user(site, user)
    with as_mail_user():
        for number in range(count):
            name = f"{1_700_000_000 + number}.M{number}P1.mx.example.org:2,"
            (maildir / "cur" / name).write_bytes(b"Subject: large\n\n%d\n" % number)
    with site.courier.imap(maildir) as imap:
        imap.select("INBOX")
        assert len(imap.uids()) == count
    return maildir


def named(word):
    """A message whose subject is this word, of a size of its own."""
    number = int(re.sub(r"\D", "", word) or 0)
    return letter(number).replace(b"Subject: letter", f"Subject: {word} letter".encode())


def word_of(message):
    """The word that `named` put into a message; the message or its header may be given."""
    return re.search(rb"^Subject: (\S+)", message, re.MULTILINE).group(1).decode()


def deliver_named(site, user, word, folder="INBOX"):
    """A delivery into the store, as Exim makes it."""
    deliver(site.store.folder(user, folder), named(word))


def words_by_uid(imap):
    """{UID: word} of the selected mailbox."""
    reply = Reply("OK", "", [])
    if imap.uids():
        reply = imap.command("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    return {int(item["UID"]): word_of(value) for item in reply.fetched()
            for name, value in item.items() if name.startswith("BODY[")}


def child_of(pid):
    """The only child of a process."""
    return int(wait_until(
        lambda: open(f"/proc/{pid}/task/{pid}/children", encoding="ascii").read().strip(),
        "it has a child").split()[0])


@contextlib.contextmanager
def stopping(threads, stop):
    """Runs threads beside the block; `stop` is set when it is left, and they are joined."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in threads), "a thread does not end"


@contextlib.contextmanager
def working(lab, worker, maildir):
    """Runs churner, deliverer or renamer beside the block, as the mail user; gives a list that holds
    its count afterwards."""
    program = Path(__file__).with_name(f"{worker}.py")
    process = lab.spawn([sys.executable, program, maildir], stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE, user=MAIL_UID, group=MAIL_GID, extra_groups=[],
                        env=os.environ | {"PYTHONPATH": str(program.parent.parent)})
    count = []
    try:
        yield count
    finally:
        count.append(int(process.communicate()[0]))
        lab.end(process)


def changing_flags(imap, stop, done):
    """A thread that changes a flag of all messages again and again in a session, until `stop`."""
    def change():
        while not stop.is_set():
            for sign in "+-":
                imap.command(f"STORE 1:* {sign}FLAGS.SILENT (\\Answered)")
                done.append(sign)

    return threading.Thread(target=change)


def rounds(default):
    """How many rounds a test does: COURIERFS_ROUNDS, or few."""
    return int(os.environ.get("COURIERFS_ROUNDS", default))


def seed():
    """The seed of a random test: COURIERFS_SEED, or a new one."""
    return int(os.environ.get("COURIERFS_SEED", int.from_bytes(os.urandom(3), "big")))
