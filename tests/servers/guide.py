"""Runs every command of GUIDE.md as it stands there, and asks both servers after each step.

Run as a program in namespaces of its own for mounts and the network (test_guide.py), because the
commands mean /nfs/mail, /etc/fstab and the ports of a real server. systemctl is a script that starts
and stops the real programs.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from servers.answers import Answers, ask_imap, ask_pop3, nothing_in, same
from servers.courier import Courier
from servers.imap import Imap, Refused
from servers.lab import BUILD, MAIL_GID, MAIL_UID, TOP, Connection, Lab, wait_until
from servers.pop3 import Pop3
from servers.site import ask_courier
from servers.store import USERS, Store, build, letter

OLD, NEW = "127.0.0.2", "127.0.0.3"
PASSWORD = "secret"
# Of this machine, hidden by empty directories; what is written to /etc goes to a layer over it.
EMPTY = ["/nfs", "/srv", "/run", "/var/log", "/var/lib/dovecot", "/var/cache", "/usr/local/bin"]
HOSTS = f"127.0.0.1 localhost\n{OLD} imap-old.example.org\n{NEW} imap-new.example.org\n"

SYSTEMCTL = """#!/bin/bash
# What the guide asks of systemd, done to the real programs.
set -eu
action=$1; shift
case "$*" in
dovecot)
    case $action in
    start) dovecot ;;
    stop) doveadm stop; while [ -e /run/dovecot/master.pid ]; do sleep 0.05; done ;;
    reload) doveadm reload ;;
    esac ;;
"courier-imap courier-pop") echo "$action" > /run/courier-wanted ;;
*) echo "systemctl: no unit '$*'" >&2; exit 1 ;;
esac
"""

# Beside the guide's settings: where to listen, without certificates, and no waiting after errors.
SURROUNDINGS = f"""
listen = {NEW}
disable_plaintext_auth = no
log_path = /var/log/dovecot
auth_failure_delay = 0
!include_try /etc/dovecot/local.conf
"""


@dataclass
class Step:
    """One section of the guide: its blocks of commands, and those of the way back."""

    title: str
    blocks: list = field(default_factory=list)
    back: list = field(default_factory=list)


def read_guide(text):
    """The Steps of the guide."""
    steps = []
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        step = Step(part.partition("\n")[0])
        for kind, block in re.findall(r"^```(\S+(?: \S+)?)\n(.*?)^```$", part,
                                      re.MULTILINE | re.DOTALL):
            {"sh": step.blocks, "sh back": step.back}[kind].append(block)
        steps.append(step)
    return steps


def mount(*words):
    """Runs mount."""
    subprocess.run(["mount", *words], check=True)


class Machine:
    """The machine of the guide: its directories, users, and servers."""

    def __init__(self, lab):
        self._lab = lab
        self.courier = Courier(lab)
        self._front = None
        self._make_places()
        self.store = self._make_store()
        self._add_accounts()

    def _make_places(self):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        scratch = self._lab.new_directory("places")
        for number, place in enumerate(EMPTY):
            (scratch / str(number)).mkdir(mode=0o755)
            Path(place).mkdir(parents=True, exist_ok=True)
            mount("--bind", str(scratch / str(number)), place)
        for name in ("upper", "work"):
            (scratch / name).mkdir(mode=0o755)
        mount("-t", "overlay", "etc", "-o",
              f"lowerdir=/etc,upperdir={scratch}/upper,workdir={scratch}/work", "/etc")
        Path("/run/dovecot").mkdir(mode=0o755)
        Path("/etc/courier").mkdir()
        Path("/etc/fstab").write_text("")
        Path("/etc/hosts").write_text(HOSTS)
        for name, line in (("passwd", f"vmail:x:{MAIL_UID}:{MAIL_GID}::/:/bin/false\n"),
                           ("group", f"vmail:x:{MAIL_GID}:\n")):
            with open(f"/etc/{name}", "a", encoding="utf-8") as file:
                file.write(line)
        script = Path("/usr/local/bin/systemctl")
        script.write_text(SYSTEMCTL)
        script.chmod(0o755)
        shutil.copy(self.courier.package_file("etc/courier/imapd"), "/etc/courier/imapd")
        # A certificate is made when the package is installed, but not by every installer of images.
        Path("/etc/dovecot/conf.d/10-ssl.conf").write_text("ssl = no\n")
        with open("/etc/dovecot/dovecot.conf", "a", encoding="utf-8") as file:
            file.write(SURROUNDINGS)

    def _make_store(self):
        built = build(self._lab, self.courier)
        # What no survey could pass over in silence is no part of the guide's store.
        for user in USERS:
            with contextlib.suppress(Refused):
                ask_courier(self.courier, built, user)
        for place in ("/nfs/mail", "/nfs/clone", "/nfs/snapshot"):
            subprocess.run(["cp", "-a", built.path, place], check=True)
        mount("--bind", "/nfs/snapshot", "/nfs/snapshot")
        mount("-o", "remount,bind,ro", "/nfs/snapshot")
        return Store("/nfs/mail")

    def _add_accounts(self):
        tools = BUILD / "courier/usr/sbin"
        hashed = subprocess.run(
            [tools / "userdbpw"], input=f"{PASSWORD}\n{PASSWORD}\n", capture_output=True, text=True,
            check=True, env={"LD_LIBRARY_PATH": BUILD / "courier/usr/lib/x86_64-linux-gnu"})
        password = hashed.stdout.strip().splitlines()[-1].rpartition(": ")[2]
        Path("/etc/courier/userdb").touch(mode=0o600)
        for user in USERS:
            subprocess.run(
                ["perl", tools / "userdb", "-f", "/etc/courier/userdb", user, "set",
                 f"home={self.store.maildir(user).parent}", f"uid={MAIL_UID}", f"gid={MAIL_GID}",
                 f"systempw={password}"], check=True)
        Path("passwords.txt").write_text("".join(f"{user}:{PASSWORD}\n" for user in USERS))

    def sync_courier(self):
        """Starts or stops Courier as systemctl was told last."""
        wanted = Path("/run/courier-wanted")
        runs = not wanted.exists() or wanted.read_text() == "start\n"
        if runs and self._front is None:
            self._front = contextlib.ExitStack()
            self._front.enter_context(self.courier.ports(self.store, address=OLD))
        elif not runs:
            self.close()

    def close(self):
        """Stops Courier, if it runs."""
        if self._front:
            self._front.close()
            self._front = None

    def run(self, block):
        """One block of the guide's commands."""
        print("".join(f"    {line}\n" for line in block.splitlines()), flush=True)
        path = f"/usr/local/bin:{os.environ['PATH']}"
        subprocess.run(["bash", "-euo", "pipefail", "-c", block], check=True, timeout=120,
                       env=os.environ | {"PATH": path})
        self.sync_courier()

    @staticmethod
    def dovecot_runs():
        """Whether it does, and then, that it takes log-ins of both kinds."""
        if not Path("/run/dovecot/master.pid").exists():
            return False
        return wait_until(lambda: answers(NEW, 143) and answers(NEW, 110), "Dovecot answers")

    def ask_dovecot(self, user):
        """Answers of Dovecot over the network."""
        with Imap(Connection.to_port(143, NEW)) as imap:
            imap.command("LOGIN", user, PASSWORD)
            folders, subscriptions = ask_imap(imap)
        with Pop3(Connection.to_port(110, NEW)) as pop3:
            pop3.command("USER", user)
            pop3.command("PASS", PASSWORD)
            return Answers(folders, subscriptions, ask_pop3(pop3))

    def ask_courier(self, user):
        """Answers of Courier, or None where it refuses the account."""
        try:
            return ask_courier(self.courier, self.store, user)
        except (Refused, ConnectionError, EOFError):
            return None

    def work(self, server, number):
        """Something changes, so that each way back has something to bring back."""
        user = USERS[number % len(USERS)]
        session = (self.courier.imap(self.store.maildir(user)) if server == "Courier"
                   else Imap(Connection.to_port(143, NEW)))
        with session as imap:
            if server != "Courier":
                imap.command("LOGIN", user, PASSWORD)
            imap.append("INBOX", letter(7000 + number), "\\Flagged Later")


def answers(address, port):
    """Whether somebody listens."""
    with contextlib.suppress(OSError):
        socket.create_connection((address, port), timeout=5).close()
        return True
    return False


class Walk:
    """The way through the guide; remembers what the mail was."""

    def __init__(self, machine):
        self._machine = machine
        self._mail = {user: machine.ask_courier(user) for user in USERS}
        self._worked = 0

    def look(self, what):
        """Whoever serves the mail now shows what there was; then something changes."""
        machine = self._machine
        seen = []
        for user in USERS:
            for name, found in (("Dovecot", machine.dovecot_runs() and machine.ask_dovecot(user)),
                                ("Courier", machine.ask_courier(user))):
                if found:
                    self._compare(user, self._mail[user], found, f"{what}: {name}")
                    seen.append(name)
        assert len(seen) in (len(USERS), 2 * len(USERS)), f"{what}: only {seen} serve mail"
        self._worked += 1
        machine.work(seen[0], self._worked)
        ask = machine.ask_dovecot if seen[0] == "Dovecot" else machine.ask_courier
        self._mail = {user: ask(user) for user in USERS}
        print(f"[{what}: {' and '.join(sorted(set(seen)))}: everything is as it was]\n", flush=True)

    @staticmethod
    def _compare(user, before, after, what):
        # What came while Dovecot was alone gets its place in POP3 from its name by Courier.
        before, after = (Answers(answers.folders, answers.subscriptions, sorted(answers.pop3))
                         for answers in (before, after))
        same(before, after, f"{what}, {user}")

    def take(self, step):
        """A step; if it has a way back, that, and the step once more."""
        print(f"## {step.title}\n", flush=True)
        for block in step.blocks:
            self._machine.run(block)
        self.look(step.title)
        if step.back:
            print("(the way back)\n", flush=True)
            for block in step.back:
                self._machine.run(block)
            self.look(f"{step.title}, back")
            for block in step.blocks:
                self._machine.run(block)
            self.look(f"{step.title}, again")


def main():
    """Walks through the whole guide; raises where it is wrong."""
    steps = read_guide((TOP / "GUIDE.md").read_text(encoding="utf-8"))
    lab = Lab()
    try:
        os.chdir(lab.new_directory("here"))
        for name in os.listdir(TOP):
            if not name.startswith("."):
                os.symlink(TOP / name, name)
        machine = Machine(lab)
        machine.sync_courier()
        walk = Walk(machine)
        for step in steps:
            walk.take(step)
        machine.close()
        assert not list(Path("/nfs/mail").rglob("courierfs-aside"))
        log = Path("/var/log/dovecot").read_text(errors="replace")
        nothing_in([line for line in log.splitlines()
                    if "Error" in line or "Panic" in line or "Fatal" in line],
                   "Dovecot complained")
        print(f"{sum(len(step.blocks + step.back) for step in steps)} blocks, {len(steps)} steps")
    finally:
        subprocess.run(["doveadm", "stop"], check=False, capture_output=True)
        for place in ("/srv/mail", "/srv/rehearsal", "/srv/scratch", "/etc", *reversed(EMPTY)):
            subprocess.run(["umount", "-l", place], check=False, capture_output=True)
        with contextlib.suppress(OSError):
            os.rmdir("/nfs")  # the only place that Debian does not have
        lab.close()


if __name__ == "__main__":
    sys.exit(main())
