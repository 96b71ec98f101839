"""Another host on this machine: a pid namespace, a host name and a mount table of its own."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from servers.courier import Courier
from servers.dovecot import Dovecot
from servers.lab import PATIENCE, children, wait_until
from servers.mount import Mount
from servers.site import Site
from servers.together import child_of

# A copy of a mount that others make would keep its daemon from ending when they unmount it.
BEGIN = """hostname "$1" && mount -t proc proc /proc &&
awk '$3 == "fuse.courierfs" { print $2 }' /proc/mounts | while read -r point; do
    umount -l "$point"
done; echo ready && exec sleep infinity"""


def numbers_of(pid):
    """The numbers of a process, outermost pid namespace first; none if it is gone."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        line = next(line for line in status.splitlines() if line.startswith("NSpid:"))
        return [int(number) for number in line.split()[1:]]
    return []


def has_living_child(pid):
    """Whether a process has a child that is not dead."""
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
            stat = Path(f"/proc/{child}/stat").read_text(encoding="utf-8", errors="replace")
            if stat.rpartition(")")[2].split()[0] not in "ZX":
                return True
    return False


class Host:
    """What a Lab is for the servers that run there. A context manager: all end with the block.

    The first process of the host's pid namespace keeps it; when it is killed, so is everything
    else there, and what is mounted there goes away with it.
    """

    def __init__(self, lab, name):
        self._lab = lab
        self.name = name
        # Its Courier finds the programs here. Its gam_server is its own, by this name.
        self.path = lab.new_directory(name)
        (self.path / "courier").symlink_to(lab.path / "courier")
        self._keeper = self._first = None
        self._entered = []

    def __enter__(self):
        self._keeper = self._lab.spawn(
            ["unshare", "--pid", "--uts", "--mount", "--fork", "--kill-child",
             "sh", "-c", BEGIN, "sh", self.name], stdout=subprocess.PIPE)
        assert self._keeper.stdout.readline() == b"ready\n"
        self._first = child_of(self._keeper.pid)
        return self

    def __exit__(self, *_):
        self.power_off()

    def power_off(self):
        """Ends everything there at once."""
        if self._keeper is None:
            return
        self._keeper.kill()
        self._keeper.stdout.close()
        self._lab.end(self._keeper)
        self._keeper = None
        wait_until(self._all_left, f"whoever entered {self.name} is reaped")
        self._entered.clear()
        # Its parent is gone, and this process adopts it.
        wait_until(self._is_gone, f"{self.name} is gone")

    def _is_gone(self):
        """The namespace ends when all who lived in it are reaped: also those whose nsenter was killed, which
        this process has adopted, too."""
        for pid in children():
            if pid != self._first and len(numbers_of(pid)) > 1:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        return os.waitpid(self._first, os.WNOHANG)[0]

    def _all_left(self):
        """A pid namespace ends when all there are reaped, and a stopped nsenter reaps nobody.

        It goes on when its program is dead, not before: it lets a stopped one go on, too, and a server that
        was stopped with a lock would release it in the moment that is left.
        """
        for entered in self._entered:
            if not has_living_child(entered.pid):
                entered.send_signal(signal.SIGCONT)
        return all(entered.poll() is not None for entered in self._entered)

    @contextlib.contextmanager
    def site(self, store):
        """courierfs and both servers on this host, over a store."""
        site = Site(self, Courier(self), store)
        site.mount = MountThere(self, store.path)
        site.dovecot = Dovecot(self, site.mount.point,
                               store=store.path if site.mount.is_control else None)
        with site:
            yield site

    def _enter(self, argv, options):
        """The command line, and the options for Popen that are left."""
        command = ["nsenter", "-t", self._first, "-p", "-u", "-m"]
        if "user" in options:
            command += ["-S", options.pop("user"), "-G", options.pop("group")]
            options.pop("extra_groups")
        words = ["env", "-C", options.pop("cwd", "/")]
        if "env" in options:
            words += ["-i", *(f"{name}={value}" for name, value in options.pop("env").items())]
        return [str(word) for word in [*command, "--", *words, *argv]], options

    def spawn(self, argv, **options):
        """Starts a program there."""
        command, options = self._enter(argv, options)
        self._entered.append(self._lab.spawn(command, **options))
        return self._entered[-1]

    def run(self, argv, uid=0, gid=0, **options):
        """Runs a program there to its end."""
        command, options = self._enter(argv, options | {
            "user": uid, "group": gid, "extra_groups": []})
        return self._lab.run(command, **options)

    def end(self, process, seconds=PATIENCE):
        """Waits for a program of this host."""
        return self._lab.end(process, seconds)

    def new_directory(self, kind, owned_by_mail_user=False):
        """A fresh directory, which all hosts see."""
        return self._lab.new_directory(kind, owned_by_mail_user)

    def mounts(self):
        """The mount points there; none when it is off."""
        if self._keeper is None:
            return set()
        table = Path(f"/proc/{self._first}/mountinfo").read_text(encoding="ascii")
        return {line.split()[4] for line in table.splitlines()}

    @staticmethod
    def pids(pid):
        """The numbers that a program, started by `spawn`, really has: here and there."""
        inner = child_of(pid)
        return inner, numbers_of(inner)[-1]


class MountThere(Mount):
    """courierfs in the mount table of another host."""

    def __init__(self, host, store):
        super().__init__(host, store)
        self._host = host

    def is_mounted(self):
        return str(self.point) in self._host.mounts()
