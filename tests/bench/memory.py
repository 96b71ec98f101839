"""What the daemon needs: time to mount, memory, its cache, descriptors, as it comes to know messages."""

import os
import re
import subprocess
import time
from pathlib import Path

from servers.dovecot import Dovecot
from servers.mount import Mount

from bench.figures import Figures
from bench.sides import drop_kernel_caches
from bench.stores import Shape, make_store, maildir_of, user_name
from bench.wire import Wire


def resident(pid):
    """KiB of memory that a process has."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))


def sample(figures, lab_mount, touched):
    """One point of the curve."""
    pid = daemon_of(lab_mount)
    data = sum(f.stat().st_blocks * 512 for f in lab_mount.state.rglob("*") if f.is_file())
    figures.curve.append({
        "messages": touched,
        "resident_kib": resident(pid),
        "state_bytes": data,
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
    })


def daemon_of(mount):
    """The daemon's pid: what was spawned may be a wrapper that became it."""
    return mount.process.pid


def measure(given, lab):
    """Accounts of 10,000 messages are selected and every message looked at, one after the other."""
    each = 100 if given.short else 10_000
    accounts = 3 if given.short else 100
    figures = Figures(f"memory, {accounts} folders of {each:,}", base="native")
    source = make_store(lab.new_directory("source") / "store",
                        [(Shape(each, bytes=150), {})] * accounts)
    times = []
    for _ in range(given.rounds):
        mount = Mount(lab, source)
        start = time.monotonic()
        mount.start()
        times.append(time.monotonic() - start)
        mount.stop()
    figures.facts["seconds until the mount is ready"] = [round(t, 4) for t in times]
    with Mount(lab, source) as mount:
        dovecot = Dovecot(lab, mount.point)
        sample(figures, mount, 0)
        for number in range(accounts):
            user = user_name(number)
            wire = Wire(dovecot.imap(user).connection)
            wire.imap('SELECT "INBOX"')
            wire.close()
            subprocess.run(["find", maildir_of(mount.point, user), "-size", "+1G"], check=True)
            sample(figures, mount, (number + 1) * each)
        given.say(f"{figures.title}: {accounts * each:,} messages looked at")
        drop_kernel_caches()
        # The kernel tells the daemon what it forgot as fast as the daemon can take it.
        last, now = None, daemon_nodes(mount)
        while now != last:
            time.sleep(0.2)
            last, now = now, daemon_nodes(mount)
        sample(figures, mount, accounts * each)
        figures.facts["nodes after the kernel forgot"] = now
    return [figures]


def daemon_nodes(mount):
    """How many files the daemon keeps for the kernel."""
    return int(re.search(r"^nodes: (\d+)$", mount.status(), re.MULTILINE).group(1))
