"""Faults at every step: the daemon dies, or a call on the store fails. No client was told a lie."""

import time

import pytest

from servers.answers import nothing_in
from servers.fault_operations import (
    MOST_IMPORTANT, OPERATIONS, Append, Arrival, FirstPop3, FirstSelect, Look, Rename)
from servers.fault_place import (  # pylint: disable=unused-import
    COMPLAINTS, EVERY_STEP, attempt, build_templates, make_place, steps)
from servers.faults import CHANGES, ERRORS, LOOKS
from servers.lab import STORES
from servers.mount import suite_options

pytestmark = [pytest.mark.any_layout, pytest.mark.skipif(
    bool(STORES), reason="faults are put below the daemon, not on NFS")]

# Where Dovecot renames folders in the store the daemon has no part in it.
KINDS = [pytest.param(kind, marks=pytest.mark.ordinary_layout if kind is Rename else ())
         for kind in OPERATIONS]


def is_tried_at_every_step(kind):
    """Not without the cache, where it would take as long once more."""
    return kind in MOST_IMPORTANT and not suite_options()


# ---- the daemon dies ----

@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_killed_at_every_step(place, kind):
    """Right before each change to the store: Courier goes on at once, and Dovecot after it."""
    waits = 0
    found = []
    for step in steps(place, kind, every=is_tried_at_every_step(kind)):
        operation = place.begin(kind)
        place.faults.arm(step)
        done = attempt(operation)
        place.faults.disarm()
        died = place.faults.fired > 0
        if died:
            place.site.mount.kill()
        # Courier waits five seconds before it takes a dead process's lock: not each time.
        locked = place.is_locked(operation)
        may_wait = EVERY_STEP or not locked or (waits < 1 and kind in MOST_IMPORTANT)
        if step % 2 == 1 and may_wait and not kind.may_be_unfinished:
            waits += locked
            found += place.problems(operation, lambda: courier_alone(place, operation), done)
        if died:
            place.site.mount.start()
        found += place.problems(operation, lambda: place.site.agree(operation.user), done)
    nothing_in(found, "after kills")


def courier_alone(place, operation):
    """Courier's answers while nothing is mounted."""
    start = time.monotonic()
    answers = place.site.ask_courier(operation.user)
    assert time.monotonic() - start < 10, "a lock that nobody has any more stops Courier"
    return answers


# ---- a call on the store fails ----

def fail_at_each(place, kind, kinds, every=False):
    """One call fails, with another error each time: no lie, no draft left, and it works again."""
    place.site.mount.expect_error(COMPLAINTS)
    found = []
    for step in steps(place, kind, kinds, every):
        operation = place.begin(kind)
        place.faults.arm(step, action=ERRORS[step % len(ERRORS)], kinds=kinds)
        done = attempt(operation)
        place.faults.disarm()
        assert place.site.mount.process.poll() is None, f"{place.step(done)}: the daemon died"
        if operation.index_may_lie:
            place.site.dovecot.forget_index()
        found += place.problems(operation, lambda: place.site.agree(operation.user), done)
        if place.drafts(operation.user) and "unlinkat" not in place.faults.what:
            found.append(f"{place.step(done)}: left {place.drafts(operation.user)}")
        if not done:
            what = place.step(done)
            place.faults.count()
            operation.start()
            if attempt(operation, operation.again):
                found += place.problems(operation, lambda: place.site.agree(operation.user), True,
                                        2)
            else:
                found.append(f"{what}: does not work again")
    nothing_in(found, "after errors")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_change_fails(place, kind):
    """The disk is full or broken, for one call."""
    fail_at_each(place, kind, CHANGES, every=is_tried_at_every_step(kind))


@pytest.mark.parametrize("kind", (Look, Append, Arrival, FirstPop3, FirstSelect),
                         ids=lambda kind: kind.__name__)
def test_a_look_fails(place, kind):
    """A call that only reads fails: what it would have shown is not taken for missing."""
    fail_at_each(place, kind, LOOKS)
