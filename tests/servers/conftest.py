"""Fixtures: one laboratory and one store for all tests, a copy and a mount for each."""

import os

import pytest

from servers.courier import Courier
from servers.lab import Lab
from servers.mount import suite_options
from servers.site import Site
from servers.store import build

# No test needs as long as this even on a machine that does other work, unless it is asked for many
# rounds.
LONGEST_TEST = 240 + 10 * int(os.environ.get("COURIERFS_ROUNDS", "0"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Shows what the daemon and Dovecot logged beside a failure."""
    report = (yield).get_result()
    site = item.funcargs.get("site") if report.failed else None
    if site:
        for name, log in (("courierfs", site.mount.log), ("Dovecot", site.dovecot.log)):
            if log.exists():
                report.sections.append((f"{name} logged", log.read_text(errors="replace")))


def pytest_collection_modifyitems(config, items):
    """With mount options not what they mean nothing to; with `control` only what is marked for it."""
    def is_wanted(item):
        if "control" in suite_options():
            return item.get_closest_marker("any_layout") and \
                not item.get_closest_marker("ordinary_layout")
        return not (suite_options() and item.get_closest_marker("once"))

    kept = [item for item in items if is_wanted(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.fixture(scope="session", name="lab")
def make_lab():
    """The laboratory; whatever a test left running or mounted ends with it."""
    laboratory = Lab()
    yield laboratory
    laboratory.close()


@pytest.fixture(scope="session", name="courier")
def make_courier(lab):
    """Courier's programs."""
    return Courier(lab)


@pytest.fixture(scope="session", name="built_store")
def build_store(lab, courier):
    """The store that every test starts from; no test changes it."""
    return build(lab, courier)


@pytest.fixture(name="store")
def copy_store(lab, built_store):
    """A store of the test's own."""
    store = built_store.copy(lab)
    yield store
    store.discard()


@pytest.fixture(autouse=True)
def _watchdog(lab):
    with lab.watchdog(LONGEST_TEST):
        yield


@pytest.fixture(name="site")
def make_site(lab, courier, store):
    """The store, mounted, with both servers; its state is checked when the test is done."""
    with Site(lab, courier, store) as site:
        yield site
