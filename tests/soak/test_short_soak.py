"""A short soak with faults. The seed is printed; COURIERFS_SEED replays it."""

import os
import random
import subprocess
import sys

from servers.lab import TOP

SECONDS = 70


def test_nobody_notices():
    """A minute of everything at once breaks no promise."""
    seed = os.environ.get("COURIERFS_SEED") or str(random.SystemRandom().randrange(10**6))
    print(f"COURIERFS_SEED={seed}")
    done = subprocess.run(
        [sys.executable, "-m", "soak", "--seconds", str(SECONDS), "--seed", seed,
         "--options", os.environ.get("COURIERFS_TEST_OPTIONS", "")],
        env=os.environ | {"PYTHONPATH": str(TOP / "tests")}, timeout=SECONDS + 600,
        check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout)
    assert done.returncode == 0
