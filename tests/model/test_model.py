"""The model of the protocol, searched exhaustively; and the proof that it can fail.

Each search is spin's, over all states (no hashing away of states): "holds" are configurations in
which no promise may break, "broken" ones in which spin must find how it breaks: a protective step of
ours left out (MUTANT_...), or a weakness of Courier's let in. COURIERFS_MODEL=full adds the large
configurations.
"""

import concurrent.futures
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

MODEL = Path(__file__).with_name("courierfs.pml")
FULL = os.environ.get("COURIERFS_MODEL") == "full"
SECONDS = 1500  # a search that takes longer than this has not ended

TWO_NODES = "NODES=2 COURIERS=1"
TWO_COURIERS = "NODES=1 COURIERS=2"
ALL = "NODES=2 COURIERS=2"
# A living node's lock is taken for stale once; nothing comes between its last look and its act.
STALLED = "CRASHES=0 DELETIONS=0 SLOW=1 QUICK_COMMIT QUICK_RELEASE"
# Courier as it is, with one thing added that it lacks: it looks whether the uid database is its own.
CHECKING = "DOUBLE_UNLINK COURIER_CHECKS=1 QUICK_COMMIT DELETIONS=0"

HOLDS = {
    "two nodes, one Courier, a crash": f"{TWO_NODES} CRASHES=1",
    "one node, two Couriers, two crashes": f"{TWO_COURIERS} CRASHES=2",
    "everybody, a listing that misses": f"{ALL} CRASHES=0 MISSES=1",
    "a stalled node": f"{TWO_COURIERS} {STALLED} MISSES=1",
}
HOLDS_FULL = {
    "everybody, two crashes": f"{ALL} CRASHES=2",
    "everybody, a crash, a listing that misses": f"{ALL} CRASHES=1 MISSES=1 DELETIONS=0",
    "two nodes that stall": f"{TWO_NODES} {STALLED} MISSES=1",
    "the double unlink, if Courier looked": f"{TWO_COURIERS} {CHECKING} MESSAGES=1",
}
BROKEN = {
    # Ours, left out.
    "no look at the lock": f"{TWO_NODES} {STALLED} MUTANT_NO_LOCK_CHECK",
    "a look at the lock's inode only": f"{TWO_NODES} {STALLED} MUTANT_INODE_ONLY",
    "no look at the uid database": f"{TWO_COURIERS} {CHECKING} MUTANT_NO_DATABASE_CHECK",
    "no comparison with the grant": f"{TWO_COURIERS} {STALLED} MISSES=1 MUTANT_NO_GRANT_CHECK",
    "a lost lock forgotten": f"{TWO_NODES} {STALLED} MUTANT_LOSS_FORGOTTEN",
    "the lock released by name": f"{TWO_NODES} {STALLED} MUTANT_RELEASE_BY_NAME",
    "a stale lock unlinked by name": f"{TWO_NODES} MUTANT_BREAK_BY_NAME",
    "a stale lock moved aside": f"{TWO_NODES} MUTANT_BREAK_ASIDE",
    "a stale lock not made living": f"{TWO_NODES} MUTANT_BREAK_UNMARKED",
    "a stale lock without fcntl": f"{TWO_NODES} MUTANT_NO_FCNTL",
    "messages left in new": f"{TWO_NODES} MUTANT_LEAVE_IN_NEW",
    "told before recorded": f"{TWO_NODES} MUTANT_TELL_BEFORE_RECORD",
    "read before locked, and not compared":
        f"{TWO_NODES} MUTANT_READ_BEFORE_LOCK MUTANT_NO_DATABASE_CHECK",
    # What an assumption is worth.
    "saved messages numbered otherwise": f"{TWO_NODES} CRASHES=0 ORDER_MISJUDGED",
    "stalled after the last look": f"{TWO_NODES} CRASHES=0 SLOW=1",
    # Courier's own.
    "Courier's double unlink": f"{TWO_COURIERS} DOUBLE_UNLINK",
    "Courier's EXAMINE": f"{TWO_COURIERS} CRASHES=0 EXAMINE",
    "Courier stalled": f"{TWO_COURIERS} CRASHES=0 SLOW=2",
}


def run(command, directory):
    """The command's output; it must end well."""
    done = subprocess.run(command, cwd=directory, timeout=SECONDS, check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout


def search(words, directory, hash_bits, optimize="-O1"):
    """Spin's report on the configuration, and the seconds it took."""
    directory.mkdir()
    run(["spin", "-a", *(f"-D{word}" for word in words.split()), MODEL], directory)
    run(["gcc", optimize, "-w", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=6000", "-o", "pan", "pan.c"],
        directory)
    start = time.monotonic()
    report = run(["./pan", f"-w{hash_bits}", "-m1000000"], directory)
    return report, time.monotonic() - start


@pytest.fixture(scope="session", name="searches")
def start_searches(request, tmp_path_factory):
    """Those of the chosen tests, as many at once as there are processors."""
    top = tmp_path_factory.mktemp("model")
    chosen = {item.callspec.params["name"] for item in request.session.items}
    wanted = {name: words for name, words in {**HOLDS_FULL, **HOLDS, **BROKEN}.items()
              if name in chosen}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {name: pool.submit(search, words, top / str(number),
                                 26 if name in HOLDS_FULL else 22,
                                 "-O0" if name in BROKEN else "-O1")  # found at once
               for number, (name, words) in enumerate(wanted.items())}
        pool.shutdown(cancel_futures=True)


def figures(name, words, report, seconds):
    """Prints what was searched; gives the number of errors."""
    def number(pattern):
        return float(re.search(pattern, report).group(1))
    errors = number(r"errors: ([0-9]+)")
    assert errors > 0 or "Search not completed" not in report, report
    assert "truncated" not in report, report
    print(f"{name} ({words}): {number(r'([0-9.e+]+) states, stored'):.0f} states, "
          f"depth {number(r'depth reached ([0-9]+)'):.0f}, "
          f"{number(r'([0-9.]+)[^0-9]+total actual memory'):.0f} MB, {seconds:.1f} s, "
          f"{errors:.0f} errors")
    return errors


@pytest.mark.parametrize("name", {**HOLDS, **(HOLDS_FULL if FULL else {})})
def test_holds(name, searches):
    """No order of steps breaks a promise."""
    report, seconds = searches[name].result()
    errors = figures(name, {**HOLDS, **HOLDS_FULL}[name], report, seconds)
    assert errors == 0, report


@pytest.mark.parametrize("name", BROKEN)
def test_is_found_broken(name, searches):
    """An assertion fails."""
    report, seconds = searches[name].result()
    errors = figures(name, BROKEN[name], report, seconds)
    assert errors == 1 and "assertion violated" in report, report
