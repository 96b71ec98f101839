"""courierfs itself: mounted over a store, unmounted, killed, mounted again."""

import os
import re
import shutil
import subprocess

from servers.lab import BUILD, looking_as_root, mounts_below, wait_until

COURIERFS = BUILD / "courierfs"
COURIERCTL = BUILD / "courierctl"


def suite_options():
    """Mount options for every test, from the environment: such as `nocache`."""
    return [o for o in os.environ.get("COURIERFS_TEST_OPTIONS", "").split(",") if o]


class Mount:
    """courierfs over a store. A context manager: mounted inside the block."""

    def __init__(self, lab, store, options=()):
        self._lab = lab
        self.store = store
        self.point = lab.new_directory("mail")
        self.state = lab.new_directory("state")
        with looking_as_root():
            self.state.chmod(0o700)
        self.log = lab.new_directory("log", owned_by_mail_user=True) / "courierfs"
        self.options = [*suite_options(), *options]
        self.environment = {}
        self.process = None
        self._expected = []

    @property
    def is_control(self):
        """Whether it has the layout for Dovecot's CONTROL=."""
        return "control" in self.options

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def command(self, *options):
        """The command line that mounts."""
        words = ",".join([f"state={self.state}", *self.options, *options])
        return [COURIERFS, "-f", self.store, self.point, "-o", words]

    def status(self):
        """What `courierctl status` prints about this mount."""
        done = self._lab.run([COURIERCTL, "status", self.point])
        if done.returncode != 0:
            raise RuntimeError(f"courierctl status: {done.stderr.decode()}")
        return done.stdout.decode()

    def start(self):
        """Mounts, and returns when the mount answers."""
        if not COURIERFS.exists():
            raise FileNotFoundError("build/courierfs is missing: run make")
        with open(self.log, "ab") as log:
            # Whoever runs the tests in the background may have them ignore signals.
            command = ["env", "--default-signal=INT,HUP", *self.command()]
            self.process = self._lab.spawn(command, stdin=subprocess.DEVNULL, stdout=log,
                                           stderr=log, env=os.environ | self.environment)
        wait_until(self._is_up, f"courierfs mounts on {self.point}")

    def _is_up(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"courierfs did not mount: {self._logged()}")
        return self.is_mounted()

    def is_mounted(self):
        """Whether anything is mounted on the mount point."""
        return bool(mounts_below(self.point))

    def stop(self):
        """Unmounts and waits for the daemon; its exit status, None if it did not run."""
        if self.is_mounted():
            done = self._lab.run(["umount", self.point])
            if done.returncode != 0:
                self._lab.run(["umount", "-l", self.point])
                raise RuntimeError(f"still in use: {done.stderr.decode()}")
        return self._reap()

    def _reap(self):
        if self.process is None:
            return None
        status = self._lab.end(self.process)
        self.process = None
        return status

    def kill(self):
        """kill -9, and what an administrator does next: umount of the dead mount."""
        self.process.kill()
        self._reap()
        self._lab.run(["umount", "-l", self.point])
        wait_until(lambda: not self.is_mounted(), "the dead mount goes away")

    def remount(self, forget=False):
        """Unmounts and mounts again; with `forget` the state directory is deleted between."""
        self.stop()
        if forget:
            with looking_as_root():
                shutil.rmtree(self.state)
                self.state.mkdir(mode=0o700)
        self.start()

    def log_lines(self, level):
        """The texts that the daemon logged at a level: error, warning or info."""
        return re.findall(rf"^courierfs: {level}: (.*)$", self._logged(), re.MULTILINE)

    def _logged(self):
        if not self.log.exists():
            return ""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def expect_error(self, pattern):
        """Announces that the daemon may log errors that match `pattern`."""
        self._expected.append(pattern)

    def unexpected_errors(self):
        """The error lines that no test announced, and any report of a sanitizer."""
        crashes = re.findall(r"^.*(?:Sanitizer|runtime error:).*$", self._logged(), re.MULTILINE)
        return crashes + [line for line in self.log_lines("error")
                          if not any(re.search(p, line) for p in self._expected)]
