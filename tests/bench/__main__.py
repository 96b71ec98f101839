"""python3 -m bench: what the conversion costs; with tests/ in PYTHONPATH, as root.

Each case is a store as Courier leaves it. It is converted (A), and a copy of it is only walked, with
Courier's files read (B): A B A B ..., and the median of the ratios A/B is what counts, because
machines are shared. With --script FILE, courier-dovecot-migrate.pl converts a third copy (C).
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from servers.lab import BUILD, MAIL_GID, MAIL_UID

COURIERCTL = BUILD / "courierctl"
# name: (mailboxes, messages in each)
CASES = {
    "one mailbox of 100,000": (1, 100_000),
    "2,000 mailboxes of 50": (2_000, 50),
    "20,000 mailboxes of 20": (20_000, 20),
}
SHORT = {"one mailbox of 2,000": (1, 2_000), "50 mailboxes of 20": (50, 20)}
LETTER = b"Subject: one of many\n\n" + b"A line of text in a message.\n" * 3


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="small cases: whether it works")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--script", type=Path, help="courier-dovecot-migrate.pl, to compare with")
    parser.add_argument("--directory", type=Path, help="where the stores are made")
    return parser.parse_args()


def make_maildir(path, messages):
    """One account with a fifth of its messages labelled, in Courier's files."""
    for part in ("cur", "new", "tmp", "courierimapkeywords"):
        (path / part).mkdir(parents=True)
    bases = [f"{1_700_000_000 + i}.M{i}P1.mx,S={len(LETTER)}" for i in range(messages)]
    for i, base in enumerate(bases):
        (path / "cur" / f"{base}:2,{'S' * (i % 2)}").write_bytes(LETTER)
    wire = len(LETTER) + LETTER.count(b"\n")
    files = {
        "courierimapuiddb": f"1 700000000 {messages + 1}\n" + "".join(
            f"{uid} {base}\n" for uid, base in enumerate(bases, start=1)),
        "courierpop3dsizelist": f"/3 {messages + 1} 1700000000\n" + "".join(
            f"{base}:2, {wire} {n}:1700000000:0\n" for n, base in enumerate(bases, start=1)),
        "courierimapkeywords/:list": "$Label1\nJunk\n\n" + "".join(
            f"{base}:{i % 2}\n" for i, base in enumerate(bases) if i % 5 == 0),
        "courierimapsubscribed": "INBOX\nINBOX.Sent\n",
        "courierimapacl": "owner aceilrstwx\nadministrators aceilrstwx\n",
    }
    for name, text in files.items():
        (path / name).write_text(text)


def make_store(path, mailboxes, messages):
    """The store, in a child that is the mail user."""
    path.mkdir()
    os.chown(path, MAIL_UID, MAIL_GID)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgid(MAIL_GID)
            os.setuid(MAIL_UID)
            for number in range(mailboxes):
                make_maildir(path / f"{number % 100:02}" / f"user{number}" / "Maildir", messages)
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1] != 0:
        raise RuntimeError("the store could not be made")


def timed(command):
    """Seconds of wall clock, and of processor."""
    subprocess.run(["sync"], check=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def copied(store, to):
    """A fresh copy."""
    if to.exists():
        shutil.rmtree(to)
    subprocess.run(["cp", "-a", store, to], check=True)
    return to


def converted(ours, store, state):
    """A."""
    return timed([COURIERCTL, "convert", "--jobs", str(ours.jobs), "--state", state, store])


def walked(store):
    """B: every directory listed, every file of Courier's read."""
    return timed(["find", store, "-type", "f", "(", "-name", "courier*", "-o", "-name", ":list", ")",
                  "-exec", "cat", "{}", "+"])


def converted_by_script(script, store):
    """C."""
    return timed(["perl", script, "--to-dovecot", "--convert", "--overwrite", "--recursive", store])


def measure(given, name, top, state):
    """Prints one case's rounds and ratios."""
    mailboxes, messages = (SHORT if given.short else CASES)[name]
    store = top / "store"
    make_store(store, mailboxes, messages)
    ratios, by_script = [], []
    for number in range(given.rounds):
        ours, ours_cpu = converted(given, copied(store, top / "a"), state)
        bare, _ = walked(copied(store, top / "b"))
        ratios.append(ours / bare)
        line = (f"  round {number + 1}: convert {ours:.2f} s ({ours_cpu:.2f} s of processor), "
                f"walk {bare:.2f} s")
        if given.script:
            theirs, _ = converted_by_script(given.script, copied(store, top / "c"))
            by_script.append(ours / theirs)
            line += f", script {theirs:.2f} s"
        print(line, flush=True)
    print(f"{name}: convert/walk {statistics.median(ratios):.2f}"
          + (f", convert/script {statistics.median(by_script):.2f}" if by_script else "")
          + f", {mailboxes * messages} messages", flush=True)
    shutil.rmtree(store)


def main():
    """The exit status is 0 if everything could be measured."""
    given = arguments()
    top = Path(tempfile.mkdtemp(prefix="courierfs-bench.", dir=given.directory))
    top.chmod(0o755)
    state = top / "state"
    try:
        for name in SHORT if given.short else CASES:
            measure(given, name, top, state)
    finally:
        shutil.rmtree(top)


if __name__ == "__main__":
    sys.exit(main())
