"""Where programs run: on this machine, or in a pid namespace and under a host name of their own."""

import os
import shutil
import signal
import socket
import threading
import time
from pathlib import Path

from servers.courier import Courier
from servers.dovecot import Dovecot
from servers.lab import wait_until
from servers.mount import Mount
from servers.store import ANN
from soak import quota
from soak.history import Login


class Here:
    """This machine."""

    def __init__(self, lab):
        self.lab = lab
        self.hostname = socket.gethostname()
        self.courier = Courier(lab)

    @staticmethod
    def pids(pid):
        """The number of a program started here: as it can be killed, and as it knows itself."""
        return pid, pid

    @staticmethod
    def is_mounted(mount):
        """Whether anything is mounted there."""
        return Mount.is_mounted(mount)


class Elsewhere:
    """A servers.hosts.Host, which is entered already."""

    def __init__(self, host):
        self.lab = host
        self.hostname = host.name
        self.courier = Courier(host)

    def pids(self, pid):
        """As for Here; EOFError if the program is gone."""
        try:
            return self.lab.pids(pid)
        except (OSError, TimeoutError, StopIteration) as error:
            raise EOFError("it is gone") from error

    def is_mounted(self, mount):
        """Whether anything is mounted there."""
        return str(mount.point) in self.lab.mounts()


class PinnedMount(Mount):
    """A mount whose daemon stays the one that was built when the soak began."""

    def __init__(self, place, store, options, daemon, environment):
        super().__init__(place.lab, store, options)
        self._place = place
        self.environment = environment
        self._daemon = place.lab.path / "courierfs"
        if not self._daemon.exists():
            shutil.copy(daemon, self._daemon)

    def command(self, *options):
        return [self._daemon, *super().command(*options)[1:]]

    def is_mounted(self):
        return self._place.is_mounted(self)

    def kill(self):
        os.kill(self._place.pids(self.process.pid)[0], signal.SIGKILL)
        self._reap()
        self._lab.run(["umount", "-l", self.point])
        wait_until(lambda: not self.is_mounted(), "the dead mount goes away")

    def forget_state(self):
        """Deletes the state directory, which may be lost while the daemon is down."""
        shutil.rmtree(self.state)
        self.state.mkdir(mode=0o700)


class RecordedDovecot(Dovecot):
    """Dovecot whose programs write down what they do."""

    def __init__(self, lab, mail_root, environment, store):
        super().__init__(lab, mail_root, store=store)
        self._words = " ".join(f"{name}={value}" for name, value in environment.items())

    def _command(self, program, settings):
        """By a script: Dovecot's programs start doveconf, which starts them once more, under the
        name they were called by and with nothing in their environment that it does not know."""
        script = self.home / Path(program).name
        if not script.exists():
            # Two workers may come here at the same time: it appears as a whole.
            draft = script.with_name(f"{script.name}.{threading.get_ident()}")
            draft.write_text(f'#!/bin/bash\n{self._words} exec -a "$0" {program} "$@"\n')
            draft.chmod(0o755)
            draft.rename(script)
        return super()._command(script, settings)


class Node:
    """A mount with its own state directory, and a Dovecot with its own indexes on it."""

    def __init__(self, place, store, number, options, daemon, environment, record):
        self._record = record
        self.name = f"mount{number}"
        self.place = place
        self.mount = PinnedMount(place, store.path, options, daemon, environment)
        # Nobody may look at the bare mountpoint: a dead mount is an error, not an empty account.
        self.mount.point.chmod(0)
        self.dovecot = RecordedDovecot(place.lab, self.mount.point, environment,
                                       store.path if self.mount.is_control else None)
        self.is_up = False
        self._indexes = 0

    def settings(self):
        """Dovecot's settings for a session that starts now."""
        name, _, domain = ANN.partition("@")  # variables are not expanded on a command line
        index = self.dovecot.index / f"{self._indexes}" / domain / name
        maildir = self.mount.point / domain / name / "Maildir"
        where = f"{maildir}"
        if self.mount.is_control:
            where = f"{self.mount.store / maildir.relative_to(self.mount.point)}:CONTROL={maildir}"
        return {"mail_location": f"maildir:{where}:INDEX={index}:UTF-8"} | quota.DOVECOT

    def lose_index(self):
        """Later sessions find no index. Those that live keep theirs: Dovecot takes a mailbox
        whose index is deleted under it for a deleted mailbox."""
        self._indexes += 1

    def start(self):
        """Mounts."""
        start = time.monotonic()
        self.mount.start()
        _, own = self.place.pids(self.mount.process.pid)
        self._record(Login(start, time.monotonic(), f"courierfs@{self.name}",
                           f"{own}@{self.place.hostname}"))
        self.is_up = True

    def fail(self, forget_state, pause):
        """kill -9 of the daemon, and a new one."""
        self.is_up = False
        self.mount.kill()
        if forget_state:
            self.mount.forget_state()
        time.sleep(pause)
        self.start()
