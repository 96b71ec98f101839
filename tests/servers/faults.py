"""Faults below the daemon: a chosen call on the store fails, or the daemon dies right before it."""

import ctypes
import errno
import mmap
from pathlib import Path

SOURCE = Path(__file__).with_name("fault_injector.c")

# As fault_injector.c has them.
CHANGES = 1
LOOKS = 2
EXCHANGES = 4
KILL = -1
FOR_EVER = 2**31 - 1

ERRORS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE)


class _Page(ctypes.Structure):
    _fields_ = [("kinds", ctypes.c_int), ("first", ctypes.c_int), ("last", ctypes.c_int),
                ("action", ctypes.c_int), ("seen", ctypes.c_int), ("fired", ctypes.c_int),
                ("what", ctypes.c_char * (4096 + 64))]  # PATH_MAX


class Faults:
    """The injector in the daemon of one mount, from its next start on."""

    def __init__(self, lab, mount):
        library = lab.path / "fault_injector.so"
        if not library.exists():
            done = lab.run(["gcc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-Wall", "-Wextra",
                            "-Werror", SOURCE, "-o", library, "-ldl"])
            if done.returncode != 0:
                raise RuntimeError(done.stderr.decode())
        path = lab.new_directory("faults") / "page"
        path.write_bytes(bytes(ctypes.sizeof(_Page)))
        with open(path, "r+b") as file:
            self._page = _Page.from_buffer(mmap.mmap(file.fileno(), 0))
        mount.environment = {"LD_PRELOAD": str(library), "COURIERFS_FAULTS": str(path),
                             "COURIERFS_FAULTS_STORE": str(mount.store)}

    def arm(self, first, last=None, action=KILL, kinds=CHANGES):
        """The calls number `first` to `last`, counted from now, fail or kill the daemon."""
        page = self._page
        page.kinds = 0
        page.first, page.last = first, first if last is None else last
        page.action = action
        page.seen = page.fired = 0
        page.what = b""
        page.kinds = kinds

    def count(self, kinds=CHANGES):
        """From now on calls are only counted."""
        self.arm(FOR_EVER, kinds=kinds)

    def disarm(self):
        """No call fails any more; how many were counted."""
        self._page.kinds = 0
        return self._page.seen

    @property
    def fired(self):
        """How many calls failed."""
        return self._page.fired

    @property
    def what(self):
        """The first call that failed, and on what."""
        return self._page.what.decode(errors="replace")
