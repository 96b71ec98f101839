"""What is compared: one store, served in different ways.

native     Dovecot on a converted copy, without any mount
plain      the same, through a pass-through file system that only passes on (plainfs.c)
courierfs  Dovecot through courierfs, on a copy as Courier left it
nocache    the same with -o nocache
control    Dovecot on the store itself, with courierfs for its control files (-o control)
courier    Courier on a copy

With a delay, a plainfs that takes so much longer for each request lies below each of them: the store
is then a slow one, and what arrives there is counted.
"""

import mmap
import os
import re
import struct
import subprocess
import time
from pathlib import Path

from servers.conversion import Ctl
from servers.courier import Courier
from servers.dovecot import Dovecot
from servers.lab import BUILD, MAIL_GID, MAIL_UID, mounts_below, wait_until
from servers.mount import COURIERCTL, Mount
from servers.store import Store

from bench.stores import maildir_of
from bench.wire import Wire

# As an NFS client believes names and attributes, in seconds.
NFS_TIMEOUT = 3


def drop_kernel_caches(pages=False):
    """The kernel forgets names and attributes, and pages too."""
    subprocess.run(["sync"], check=True)
    Path("/proc/sys/vm/drop_caches").write_text("3" if pages else "2", encoding="ascii")


class Plain:
    """plainfs over a directory, mounted; `requests` counts them."""

    def __init__(self, lab, directory, delay_ms=0.0, timeout=1.0):
        self.point = lab.new_directory("plain")
        self._lab = lab
        counts = lab.path / f"{self.point.name}.counts"
        counts.write_bytes(bytes(mmap.PAGESIZE))
        with open(counts, "r+b") as page:
            self._page = mmap.mmap(page.fileno(), mmap.PAGESIZE)
        words = f"timeout={timeout},delay={int(delay_ms * 1000)},counts={counts}"
        self._process = lab.spawn([BUILD / "bench" / "plainfs", directory, self.point, "-o",
                                   words])
        wait_until(lambda: mounts_below(self.point), "plainfs mounts")

    def requests(self):
        """How many it has had."""
        return struct.unpack_from("Q", self._page)[0]

    def stop(self):
        """Unmounts it, though a child of a server's may still be there."""
        subprocess.run(["umount", "--lazy", self.point], check=True)
        self._process.terminate()
        self._lab.end(self._process)


class Side:
    """A way to serve a store. A context manager."""

    name = None

    def __init__(self, lab, source, delay_ms=None):
        self.lab = lab
        self.store = lab.new_directory("store", owned_by_mail_user=True)
        subprocess.run(["cp", "-a", f"{source}/.", self.store], check=True)
        self._prepare()
        self.below = None if delay_ms is None else Plain(lab, self.store, delay_ms, NFS_TIMEOUT)
        if self.below:
            self.store = self.below.point

    def _prepare(self):
        """Before anything is mounted."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.below:
            self.below.stop()

    def counts(self):
        """{what: how many} of calls and requests so far."""
        return {"requests to the store": self.below.requests()} if self.below else {}

    def deliver(self, user, name, text, folder=None):
        """A delivery, as Exim makes it, straight into the store."""
        mailbox = maildir_of(self.store, user) / (f".{folder}" if folder else "")
        draft = mailbox / "tmp" / name
        draft.write_bytes(text)
        os.chown(draft, MAIL_UID, MAIL_GID)
        draft.rename(mailbox / "new" / name)

    def imap(self, user):
        """A Wire that is an IMAP session."""
        raise NotImplementedError

    def pop3(self, user):
        """A Wire that is a POP3 session."""
        raise NotImplementedError

    def forget_index(self):
        """What the server remembers besides the store's own files."""

    def forget_all(self):
        """As if the server had never been here."""
        self.forget_index()

    def warm(self):
        """What an administrator can do before the first client comes."""


class _DovecotSide(Side):
    dovecot = None

    def imap(self, user):
        return Wire(self.dovecot.imap(user).connection)

    def pop3(self, user):
        return Wire(self.dovecot.pop3(user).connection)

    def forget_index(self):
        self.dovecot.forget_index()

    def __exit__(self, kind, *rest):
        super().__exit__(kind, *rest)
        complaints = self.dovecot.complaints()
        if kind is None and complaints:
            raise RuntimeError(f"{self.name}: Dovecot complained: {complaints[0]}")


class Native(_DovecotSide):
    """Dovecot on its own files."""

    name = "native"

    def _prepare(self):
        Ctl(self.lab, Store(self.store)).run("convert")

    def __init__(self, lab, source, delay_ms=None):
        super().__init__(lab, source, delay_ms)
        self.dovecot = Dovecot(lab, self.store)
        self._lists = {path: path.read_bytes() for path in self.store.rglob("dovecot-uidlist")}

    def forget_all(self):
        """Dovecot writes the sizes that it read into its lists."""
        super().forget_all()
        for path, content in self._lists.items():
            path.write_bytes(content)


class PassThrough(Native):
    """The same through a plain file system."""

    name = "plain"

    def __init__(self, lab, source, delay_ms=None):
        super().__init__(lab, source, delay_ms)
        self._mounted = Plain(lab, self.store)
        self.store = self._mounted.point
        self.dovecot = Dovecot(lab, self.store)

    def counts(self):
        return super().counts() | {"requests to the mount": self._mounted.requests()}

    def __exit__(self, *rest):
        self._mounted.stop()
        super().__exit__(*rest)


class Courierfs(_DovecotSide):
    """Dovecot through courierfs."""

    name = "courierfs"
    options = ()

    def __init__(self, lab, source, delay_ms=None):
        super().__init__(lab, source, delay_ms)
        self.mount = Mount(lab, self.store, self.options)
        self.mount.start()
        self.dovecot = Dovecot(lab, self.mount.point,
                               store=self.store if self.mount.is_control else None)
        self._looking = {}
        self._looking = self._cost_of_looking()

    def _status(self):
        numbers = re.findall(r"^(request|store) (\w+): (\d+)$", self.mount.status(), re.MULTILINE)
        return {(kind, name): int(number) for kind, name, number in numbers}

    def _cost_of_looking(self):
        """What reading the status adds to it."""
        self._status()
        before, after = self._status(), self._status()
        return {key: after[key] - before[key] for key in after}

    def counts(self):
        found = self._status()
        self._looking["times"] = self._looking.get("times", 0) + 1
        for key in found:
            found[key] -= self._looking["times"] * self._looking.get(key, 0)
        return super().counts() | {
            "requests to the mount": sum(n for (kind, name), n in found.items()
                                         if kind == "request" and name != "forget"),
            "calls on the store": sum(n for (kind, _), n in found.items() if kind == "store"),
        } | {f"{kind} {name}": number for (kind, name), number in found.items()}

    def forget_all(self):
        super().forget_all()
        self.mount.remount(forget=True)

    def warm(self):
        done = self.lab.run([COURIERCTL, "warm", self.mount.point])
        if done.returncode != 0:
            raise RuntimeError(f"courierctl warm: {done.stderr.decode()}")

    def __exit__(self, kind, *rest):
        self.mount.stop()
        super().__exit__(kind, *rest)
        errors = self.mount.unexpected_errors()
        if kind is None and errors:
            raise RuntimeError(f"the daemon complained: {errors[0]}")


class WithoutCache(Courierfs):
    """The same without a cache on disk."""

    name = "nocache"
    options = ("nocache",)


class ControlFiles(Courierfs):
    """Dovecot reads mail in the store, and control files through courierfs."""

    name = "control"
    options = ("control",)


class CourierItself(Side):
    """Courier's own servers."""

    name = "courier"

    def __init__(self, lab, source, delay_ms=None):
        super().__init__(lab, source, delay_ms)
        self._courier = Courier(lab)

    def imap(self, user):
        return Wire(self._courier.imap(maildir_of(self.store, user)).connection)

    def pop3(self, user):
        return Wire(self._courier.pop3(maildir_of(self.store, user)).connection)


SIDES = (Native, PassThrough, Courierfs, WithoutCache, ControlFiles, CourierItself)


def settled(side):
    """Its counts, once no answer is under way any more."""
    last = side.counts()
    for _ in range(50):
        time.sleep(0.002)  # a release comes after the answer that the program waited for
        now = side.counts()
        if now == last:
            break
        last = now
    return last
