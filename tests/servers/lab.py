"""A laboratory: one directory in which servers, stores and mounts live, and what they started.

Everything that a test starts is started through here, so that everything ends here too:
programs by `Lab.spawn` or `Lab.run`, daemons that leave their parent because the test
process adopts them.
"""

import contextlib
import ctypes
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BUILD = TOP / "build"

MAIL_UID = 5000
MAIL_GID = 5000

# How long anything here may take before it counts as stuck; more on an emulated machine.
PATIENCE = int(os.environ.get("COURIERFS_TEST_PATIENCE", "30"))

# Where the stores lie, if not in the laboratory: a directory of the mail user's on NFS, and the
# same one as its server has it.
STORES = os.environ.get("COURIERFS_TEST_STORES")
SERVER_PATH = os.environ.get("COURIERFS_NFS_SERVER_PATH")

_PR_SET_CHILD_SUBREAPER = 36


def wait_until(condition, what, seconds=PATIENCE):
    """Polls `condition` until it is true and returns its value; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


def _look_as(uid, gid):
    """File calls of this process are made with these ids; it stays root for all else."""
    libc = ctypes.CDLL(None)
    libc.setfsgid(gid)
    libc.setfsuid(uid)


def _look_as_usual():
    """Root looks at everything; not where the stores are on NFS, where root is nobody."""
    _look_as(*((MAIL_UID, MAIL_GID) if STORES else (0, 0)))


@contextlib.contextmanager
def looking_as_root():
    """File calls in this block are made as root, wherever the stores are."""
    _look_as(0, 0)
    try:
        yield
    finally:
        _look_as_usual()


def on_server(path):
    """The same file of a store as the NFS server has it, if there is one."""
    return Path(SERVER_PATH) / Path(path).relative_to(STORES) if SERVER_PATH else path


@contextlib.contextmanager
def acting_as(uid, gid, groups=()):
    """File calls in this block are made with these ids and supplementary groups."""
    former = os.getgroups()
    os.setgroups(list(groups))
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(former)
        _look_as_usual()


def as_mail_user():
    """File calls in this block are made as the mail user."""
    return acting_as(MAIL_UID, MAIL_GID)


def shell_command(argv, environment, cwd="/", errors="/dev/null"):
    """One line for a shell that runs a program in this environment and directory."""
    settings = [f"{name}={value}" for name, value in environment.items()]
    words = shlex.join(["env", "-i", "-C", str(cwd), *settings, *map(str, argv)])
    return f"{words} 2>>{shlex.quote(str(errors))}"


def mounts_below(directory):
    """The mount points at or below `directory`, the innermost first."""
    prefix = str(directory)
    points = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            point = line.split()[4].encode().decode("unicode_escape")
            if point == prefix or point.startswith(prefix + "/"):
                points.append(point)
    return sorted(points, key=len, reverse=True)


def children():
    """The pids of this process's children, also of those that are dead and not reaped."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path("/proc", entry, "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == os.getpid():
            found.append(int(entry))
    return found


def as_user(argv, uid, gid, groups=()):
    """The command line of a program that runs as somebody else.

    Popen's own `user` makes it fork, which takes up to a tenth of a second for a process as large as this
    one becomes; without, it need not.
    """
    words = [str(word) for word in argv]
    if (uid, gid) == (0, 0):
        return words
    ids = "--groups=" + ",".join(map(str, groups)) if groups else "--clear-groups"
    return ["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", ids, "--", *words]


class Lab:
    """A temporary directory with a short name that the mail user may search."""

    def __init__(self):
        if os.geteuid() != 0:
            raise PermissionError("the server tests mount file systems: run them as root")
        self.path = Path(tempfile.mkdtemp(prefix="courierfs."))
        self.path.chmod(0o755)
        self._stores = self.path
        if STORES:
            os.chown(self.path, MAIL_UID, MAIL_GID)
            _look_as_usual()
            self._stores = Path(tempfile.mkdtemp(prefix="courierfs.", dir=STORES))
            self._stores.chmod(0o755)
        self._processes = set()
        self._names = 0
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def new_directory(self, kind, owned_by_mail_user=False):
        """A fresh directory in the laboratory."""
        self._names += 1
        path = (self._stores if kind == "store" else self.path) / f"{kind}{self._names}"
        path.mkdir()
        owner = (MAIL_UID, MAIL_GID) if owned_by_mail_user else (0, 0)
        if path.stat().st_uid != owner[0]:
            with looking_as_root():
                os.chown(path, *owner)
        return path

    def spawn(self, argv, **options):
        """Starts a program; the laboratory ends it at the latest when it closes."""
        command = as_user(argv, options.pop("user", 0), options.pop("group", 0),
                          options.pop("extra_groups", ()))
        process = subprocess.Popen(command, **options)
        self._processes.add(process)
        return process

    def end(self, process, seconds=PATIENCE):
        """Waits for a program that was told to end, kills it after `seconds`; its status."""
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        self._processes.discard(process)
        return status

    def run(self, argv, uid=0, gid=0, timeout=PATIENCE, **options):
        """Runs a program to its end as the given user, its output captured."""
        return subprocess.run(as_user(argv, uid, gid), timeout=timeout, check=False,
                              capture_output=True, **options)

    def kill_all(self):
        """Ends all programs at once; whoever waits for one of them wakes up."""
        for process in list(self._processes):
            process.kill()

    @contextlib.contextmanager
    def watchdog(self, seconds):
        """Kills every program when the block takes longer, so that nothing waits for ever."""
        barked = threading.Event()

        def bark():
            barked.set()
            self.kill_all()

        timer = threading.Timer(seconds, bark)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
        if barked.is_set():
            raise TimeoutError(f"took longer than {seconds} s: all programs were killed")

    def clean(self):
        """Unmounts whatever is mounted in the laboratory and ends whatever still runs."""
        for point in mounts_below(self.path):
            subprocess.run(["umount", "-l", point], check=False, capture_output=True)
        for process in list(self._processes):
            process.kill()
            self.end(process)
        wait_until(self._no_children, "every adopted daemon ends")

    @staticmethod
    def _no_children():
        found = children()
        for pid in found:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)  # one may have to wait for another
        return not found

    def close(self):
        """Ends everything and removes the directory."""
        self.clean()
        if mounts_below(self.path):
            raise RuntimeError(f"still mounted below {self.path}: nothing is deleted")
        if self._stores != self.path:
            shutil.rmtree(self._stores)
        with looking_as_root():
            shutil.rmtree(self.path)


class Connection:
    """A program that talks on its standard input and output, or a TCP server: one socket."""

    def __init__(self, sock, finish=None):
        sock.settimeout(PATIENCE)
        self.socket = sock
        self.stream = sock.makefile("rb")
        self._finish = finish

    @classmethod
    def to_program(cls, lab, argv, **options):
        """Starts a program with one end of a socket pair as its standard input and output."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = lab.spawn(argv, stdin=theirs, stdout=theirs, **options)
        connection = cls(ours, finish=lambda: lab.end(process))
        connection.pid = process.pid
        return connection

    @classmethod
    def to_port(cls, port, address="127.0.0.1"):
        """Connects to a server on the loopback interface."""
        return cls(socket.create_connection((address, port), timeout=PATIENCE))

    def send(self, data):
        """Sends bytes as they are."""
        self.socket.sendall(data)

    def line(self):
        """The next line with its line end; an empty one is an error."""
        line = self.stream.readline()
        if not line:
            raise EOFError("the server closed the connection")
        return line

    def read(self, size):
        """Exactly `size` bytes."""
        data = self.stream.read(size)
        if len(data) != size:
            raise EOFError("the server closed the connection")
        return data

    def close(self):
        """Closes the socket and waits for the program."""
        self.stream.close()
        self.socket.close()
        if self._finish:
            self._finish()
            self._finish = None
