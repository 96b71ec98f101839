"""GUIDE.md: every command in it is run, and the mail is what it was after each step."""

import os
import re
import subprocess
import sys

import pytest

from servers.guide import read_guide
from servers.lab import STORES, TOP
from servers.mount import suite_options

GUIDE = (TOP / "GUIDE.md").read_text(encoding="utf-8")


@pytest.mark.skipif(bool(STORES), reason="it makes a store of its own")
@pytest.mark.skipif(bool(suite_options()), reason="the guide says which options are used")
def test_every_command(lab):
    """In namespaces of its own, from the survey to the end, with each way back."""
    environment = os.environ | {"PYTHONPATH": str(TOP / "tests"), "TZ": "UTC"}
    process = lab.spawn(
        ["unshare", "--mount", "--net", "--propagation", "private", "--", sys.executable, "-m",
         "servers.guide"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = process.stdout.read().decode(errors="replace")
    process.stdout.close()
    assert lab.end(process) == 0, text
    print(text)


def test_nothing_looks_like_a_command_that_is_not_run():
    """Every block is one of the two kinds, and every step has commands or says that it has none."""
    assert set(re.findall(r"^```(.*)$", GUIDE, re.MULTILINE)) == {"sh", "sh back", ""}
    assert not re.search(r"^    \S", GUIDE, re.MULTILINE)
    steps = read_guide(GUIDE)
    assert len(steps) == 9 and all(step.blocks for step in steps)
    fences = len(re.findall("^```sh", GUIDE, re.MULTILINE))
    assert sum(len(step.blocks) + len(step.back) for step in steps) == fences
