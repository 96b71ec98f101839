"""What the conversion costs.

Each case is a store as Courier leaves it. A copy of it is converted (A), and another is only walked, with
Courier's files read (B): A B A B ..., and the median of the ratios A/B is what counts, because
machines are shared. With --script FILE, courier-dovecot-migrate.pl converts a third copy (C).
"""

import resource
import shutil
import subprocess
import time

from servers.lab import BUILD

from bench.figures import Figures
from bench.stores import Shape, make_store

COURIERCTL = BUILD / "courierctl"
# name: (mailboxes, messages in each)
CASES = {
    "one mailbox of 100,000": (1, 100_000),
    "2,000 mailboxes of 50": (2_000, 50),
    "20,000 mailboxes of 20": (20_000, 20),
}
SHORT = {"one mailbox of 2,000": (1, 2_000), "50 mailboxes of 20": (50, 20)}
JOBS = 4
BYTES = 150  # of a message: they are not read


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


def commands(given, top):
    """{side: a function from a store to the command that is timed}."""
    state = top / "state"
    sides = {
        "walk": lambda store: ["find", store, "-type", "f", "(", "-name", "courier*", "-o", "-name",
                               ":list", ")", "-exec", "cat", "{}", "+"],
        "convert": lambda store: [COURIERCTL, "convert", "--jobs", str(JOBS), "--state", state,
                                  store],
    }
    if given.script:
        sides["script"] = lambda store: ["perl", given.script, "--to-dovecot", "--convert",
                                         "--overwrite", "--recursive", store]
    return sides


def measure(given, lab):
    """[Figures], one for each case."""
    top = lab.new_directory("migration")
    found = []
    for name, (mailboxes, messages) in (SHORT if given.short else CASES).items():
        store = make_store(top / "store", [(Shape(messages, bytes=BYTES), {})] * mailboxes)
        figures = Figures(f"convert, {name}", base="walk")
        for number in range(given.rounds):
            for side, command in commands(given, top).items():
                wall, cpu = timed(command(copied(store, top / side)))
                figures.add("convert all", side, wall)
                given.say(f"{figures.title}, round {number + 1}: {side} {wall:.2f} s "
                          f"({cpu:.2f} s of processor)")
        found.append(figures)
        for path in top.iterdir():
            shutil.rmtree(path)
    return found
