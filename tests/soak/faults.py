"""Kills: of sessions by chance, of whoever holds a lock, and of whole daemons."""

import threading
import time

from soak.history import Fault


class Faults(threading.Thread):
    """Kills something every few seconds until the deadline."""

    def __init__(self, page, soak, deadline):
        super().__init__(name="faults")
        self._page = page
        self._soak = soak
        self._deadline = deadline

    def run(self):
        while time.monotonic() < self._deadline - 3:
            time.sleep(self._page.rng.uniform(0.5, 4))
            fault = self._page.rng.choices(
                [self._kill_session, self._kill_lock_holder, self._kill_daemon,
                 self._lose_index], [10, 8, 4, 1])[0]
            fault()

    def _note(self, start, who, what, holding_lock=False):
        self._page.record(Fault(start, time.monotonic(), who, what, holding_lock))

    def _kill_session(self):
        start = time.monotonic()
        who = self._page.sessions.kill(self._page.rng)
        if who:
            self._note(start, who, who.partition("@")[0])

    def _locks(self):
        """What is in every lock that is held now."""
        found = []
        for lock in (self._soak.maildir / "tmp" / "courier.lock",
                     *self._soak.maildir.glob(".*/tmp/courier.lock")):
            try:
                found.append(lock.read_text(encoding="ascii"))
            except OSError:
                continue
        return found

    def _kill_lock_holder(self):
        """Waits for a lock, then kills its holder or the daemon below the holder."""
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            for owner in self._locks():
                start = time.monotonic()
                who = self._page.sessions.who(owner)
                node = next((n for n in self._soak.nodes if who and f"@{n.name}#" in who), None)
                if node is not None and self._page.chance(0.3):
                    self._kill_daemon(node, holding_lock=True)
                    return
                if self._page.sessions.kill(owner=owner):
                    self._note(start, who, who.partition("@")[0], holding_lock=True)
                    return
            time.sleep(0.0005)

    def _kill_daemon(self, node=None, holding_lock=False):
        node = node or self._page.rng.choice(self._soak.nodes)
        start = time.monotonic()
        forget_state = self._page.chance(0.25)
        node.fail(forget_state, self._page.rng.choice([0, 0, 0.3, 1]))
        self._note(start, f"courierfs@{node.name}",
                   "courierfs" + " and its state" * forget_state, holding_lock)

    def _lose_index(self):
        """An administrator may delete Dovecot's indexes at any time."""
        node = self._page.rng.choice(self._soak.nodes)
        start = time.monotonic()
        node.lose_index()
        self._note(start, f"index@{node.name}", "Dovecot's index")
