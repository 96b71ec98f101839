"""A short soak with faults. The seed is printed; COURIERFS_SEED replays it."""

import os
import random
import subprocess
import sys

import pytest

from servers.lab import TOP


@pytest.mark.parametrize("options, seconds", [("", 70), ("control", 30)], ids=["ordinary", "control"])
def test_nobody_notices(options, seconds):
    """A minute of everything at once breaks no promise."""
    seed = os.environ.get("COURIERFS_SEED") or str(random.SystemRandom().randrange(10**6))
    print(f"COURIERFS_SEED={seed}")
    words = [word for word in (options, os.environ.get("COURIERFS_TEST_OPTIONS")) if word]
    done = subprocess.run(
        [sys.executable, "-m", "soak", "--seconds", str(seconds), "--seed", seed,
         "--options", ",".join(words)],
        env=os.environ | {"PYTHONPATH": str(TOP / "tests")}, timeout=seconds + 600,
        check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout)
    assert done.returncode == 0
