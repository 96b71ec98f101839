"""Courier's own programs: imapd and courierpop3d on pipes, maildirmake, deliveries."""

import contextlib
import os
import shutil
import subprocess
import time

from servers.imap import Imap
from servers.lab import (
    BUILD, MAIL_GID, MAIL_UID, TOP, Connection, as_mail_user, shell_command)
from servers.pop3 import Pop3

SETTINGS = {
    "IMAP_CAPABILITY": "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE SORT QUOTA IDLE MOVE",
    "IMAP_KEYWORDS": "1",
    "IMAP_ACL": "1",
    "IMAP_USELOCKS": "1",
    "IMAP_ENHANCEDIDLE": "1",
    "IMAP_TRASHFOLDERNAME": "Trash",
    "AUTHENTICATED": "joe",
    "TZ": "UTC",
    "PATH": "/usr/bin:/bin",
}


class Courier:
    """Courier's servers, run as the mail user on a maildir given by its path."""

    def __init__(self, lab):
        fetched = BUILD / "courier"
        if not (fetched / ".unpacked").exists():
            raise FileNotFoundError("build/courier is missing: run scripts/fetch-courier")
        self._lab = lab
        # The mail user may have no right to search the directory of this checkout.
        self._tree = lab.path / "courier"
        if not self._tree.exists():
            shutil.copytree(fetched, self._tree, symlinks=True)
        libraries = f"{self._tree}/usr/lib:{self._tree}/usr/lib/x86_64-linux-gnu"
        for machine in (self._tree / "usr/lib").glob("*-linux-gnu"):
            libraries += f":{machine}"
        self._environment = SETTINGS | {
            "LD_LIBRARY_PATH": libraries,
            "GAMIN_DEBUG_SERVER": f"{self._tree}/usr/libexec/gam_server",
        } | self._name_of_the_mail_user(lab)
            # A name of its own, lest it meet the gam_server of somebody else.
        self.log = lab.path / "courier.log"

    @staticmethod
    def _name_of_the_mail_user(lab):
        """Gives the bare number a name, without which Courier's gam_server is not found.

        The name is the laboratory's own, lest two of them share a gam_server.
        """
        name = lab.path.name
        (lab.path / "passwd").write_text(f"{name}:x:{MAIL_UID}:{MAIL_GID}::/:/bin/false\n")
        (lab.path / "group").write_text(f"{name}:x:{MAIL_GID}:\n")
        return {
            "LD_PRELOAD": "libnss_wrapper.so",
            "NSS_WRAPPER_PASSWD": str(lab.path / "passwd"),
            "NSS_WRAPPER_GROUP": str(lab.path / "group"),
        }

    def package_file(self, name):
        """The path of a file that Debian's packages have."""
        return self._tree / name

    def _connection(self, program, maildir, settings):
        with open(self.log, "ab") as log:
            return Connection.to_program(
                self._lab, [self._tree / program, maildir.name], stderr=log,
                user=MAIL_UID, group=MAIL_GID, extra_groups=[], cwd=maildir.parent,
                env=self._environment | settings)

    def imap(self, maildir, **settings):
        """An IMAP session on a maildir, already logged in."""
        return Imap(self._connection("usr/bin/imapd", maildir, settings))

    def pop3(self, maildir, **settings):
        """A POP3 session on a maildir, already logged in."""
        return Pop3(self._connection("usr/lib/courier/courier/courierpop3d", maildir, settings))

    @contextlib.contextmanager
    def ports(self, *stores, address=None):
        """Both servers on loopback ports, as courier_front.py has them; gives (IMAP, POP3). With an
        address, on its usual ports."""
        command = ["/usr/bin/python3", "-m", "servers.courier_front", self._tree / "usr/bin/imapd",
                   self._tree / "usr/lib/courier/courier/courierpop3d",
                   *(store.path for store in stores)]
        environment = self._environment | (
            {"COURIER_FRONT_ADDRESS": address} if address else {})
        with open(self.log, "ab") as log:
            process = self._lab.spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=log, env=environment, cwd=TOP / "tests")
        try:
            yield tuple(map(int, process.stdout.readline().split()))
        finally:
            process.stdin.close()
            process.stdout.close()
            self._lab.end(process)

    def tunnel(self, maildir):
        """A command line, for a client's shell, that is an IMAP session on its pipes."""
        return shell_command([self._tree / "usr/bin/imapd", maildir.name],
                             self._environment, cwd=maildir.parent)

    def _program(self, name, *arguments, **options):
        result = self._lab.run([self._tree / "usr/bin" / name, *arguments], uid=MAIL_UID,
                               gid=MAIL_GID, env=self._environment, cwd="/", **options)
        if result.returncode != 0:
            raise RuntimeError(f"{name}: {result.stderr.decode(errors='replace')}")
        return result.stdout.decode()

    def make_maildir(self, maildir):
        """maildirmake; the user's home above it is made, too."""
        with as_mail_user():
            maildir.parent.mkdir(mode=0o700, exist_ok=True)
        self._program("maildirmake.courier", maildir)

    def computed_rights(self, maildir, folder, identifiers):
        """What maildiracl says that somebody whom all these identifiers fit may do."""
        return self._program("maildiracl", "-compute", maildir, folder, *identifiers)

    def deliver_with_quota(self, maildir, message, quota="100000000S"):
        """A delivery by deliverquota, which counts it in maildirsize."""
        self._program("deliverquota.courier", maildir, quota, input=message)


def deliver(maildir, message, name=None, when=None):
    """A delivery as Exim makes it: written in tmp/, renamed to new/; the file's name.

    `when` sets the file's time, which IMAP shows as INTERNALDATE.
    """
    if name is None:
        deliver.count += 1
        now = time.time_ns()
        name = (f"{now // 10**9}.H{now // 1000 % 10**6}P{os.getpid()}Q{deliver.count}"
                f".mx.example.org,S={len(message)}")
    with as_mail_user():
        draft = maildir / "tmp" / name
        draft.write_bytes(message)
        if when is not None:
            os.utime(draft, (when, when))
        draft.rename(maildir / "new" / name)
    return name


deliver.count = 0
