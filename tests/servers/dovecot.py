"""Dovecot's own programs: imap, pop3, LDA and doveadm on pipes, or a whole master.

The settings are those of mount-examples/dovecot-2.3.conf with the paths and the mail
user of the test in them.
"""

import contextlib
import shutil
import signal
import smtplib
import socket

from servers.imap import Imap, Refused
from servers.lab import MAIL_GID, MAIL_UID, STORES, TOP, Connection, shell_command, wait_until
from servers.pop3 import Pop3

EXAMPLES = TOP / "mount-examples"

SURROUNDINGS = """
base_dir = {home}/base
state_dir = {home}/state
log_path = {log}
ssl = no
disable_plaintext_auth = no
protocols = imap pop3 lmtp
listen = 127.0.0.1
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
auth_username_format = %Lu
{accounts}
service imap-login {{
  inet_listener imap {{
    port = {imap_port}
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3_port}
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp_port}
  }}
}}
!include {settings}
"""

# It reads mail in the store, and only control files on the mount.
CONTROL_EXAMPLE = "dovecot-2.3-control.conf"

# One password for everybody.
ACCOUNTS = """
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}/homes/%u allow_all_users=yes
}}
"""

# Programs on pipes have no master process to talk to.
WITHOUT_MASTER = ["-o", "stats_writer_socket_path=", "-o", "auth_socket_path="]
COMPLAINTS = ("Error:", "Warning:", "Fatal:", "Panic:")
# The master says so when a test stops it.
NO_COMPLAINT = "master: Warning: Killed with signal 15"


def free_ports(count):
    """Numbers of free TCP ports on the loopback interface."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


class Dovecot:
    """Dovecot with the example's settings over the maildirs below `mail_root`.

    Further `examples` are read after it.
    A user `ann@example.org` has the maildir `example.org/ann/Maildir` there. `accounts` are the
    settings of a master for those who log in. With a `store`, mail is read there, and what is at
    `mail_root` has the layout for CONTROL=.
    """

    def __init__(self, lab, mail_root, examples=(), accounts=None, store=None):
        self._lab = lab
        self.home = lab.new_directory("dovecot", owned_by_mail_user=True)
        self.index = self.home / "index"
        self.log = self.home / "log"
        self.log.touch(mode=0o666)
        self.log.chmod(0o666)
        self.config = self.home / "dovecot.conf"
        self._read = 0
        self._imap_port, self._pop3_port, self._lmtp_port = free_ports(3)
        self._store = store
        if store:
            examples = [CONTROL_EXAMPLE, *examples]
        settings = self.home / "settings.conf"
        settings.write_text(
            self._example("dovecot-2.3.conf", mail_root, with_owner=True)
            + "".join(self._example(name, mail_root) for name in examples))
        if accounts is None:
            accounts = ACCOUNTS.format(home=self.home, uid=MAIL_UID, gid=MAIL_GID)
        self.config.write_text(SURROUNDINGS.format(
            home=self.home, log=self.log, settings=settings, accounts=accounts,
            imap_port=self._imap_port, pop3_port=self._pop3_port, lmtp_port=self._lmtp_port))

    def _example(self, name, mail_root, with_owner=False):
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        ours = {"/srv/mail": mail_root, "/var/lib/dovecot/index": self.index}
        if with_owner:
            ours |= {"mail_uid = vmail": f"mail_uid = {MAIL_UID}",
                     "mail_gid = vmail": f"mail_gid = {MAIL_GID}"}
        if name == CONTROL_EXAMPLE:
            ours |= {"/nfs/mail": self._store,
                     "mail_nfs_storage = yes": f"mail_nfs_storage = {'yes' if STORES else 'no'}"}
        for words, value in ours.items():
            if words not in text:
                raise ValueError(f"{name} has no '{words}'")
            text = text.replace(words, str(value))
        return text

    def _environment(self, user):
        home = self.home / "homes" / user
        home.mkdir(parents=True, exist_ok=True)
        for directory in (home.parent, home):
            directory.chmod(0o755)
        return {"PATH": "/usr/bin:/bin", "TZ": "UTC", "USER": user, "HOME": str(home)}

    def _command(self, program, settings):
        options = [word for name, value in settings.items()
                   for word in ("-o", f"{name}={value}")]
        return [program, "-c", self.config, *WITHOUT_MASTER, *options]

    def _connection(self, user, program, settings):
        with open(self.log, "ab") as log:
            return Connection.to_program(
                self._lab, self._command(program, settings), stderr=log, user=MAIL_UID,
                group=MAIL_GID, extra_groups=[], cwd="/", env=self._environment(user))

    def imap(self, user, **settings):
        """An IMAP session, already logged in; further settings may be given."""
        return Imap(self._connection(user, "/usr/lib/dovecot/imap", settings))

    def pop3(self, user, **settings):
        """A POP3 session, already logged in."""
        return Pop3(self._connection(user, "/usr/lib/dovecot/pop3", settings), greets=False)

    def tunnel(self, user):
        """A command line, for a client's shell, that is an IMAP session on its pipes."""
        return shell_command(self._command("/usr/lib/dovecot/imap", {}),
                             self._environment(user), errors=self.log)

    def deliver(self, user, message, folder="INBOX", **settings):
        """A delivery by dovecot-lda."""
        result = self._lab.run(
            [*self._command("/usr/lib/dovecot/dovecot-lda", settings), "-m", folder],
            uid=MAIL_UID, gid=MAIL_GID, env=self._environment(user), cwd="/", input=message)
        if result.returncode != 0:
            raise RuntimeError(f"dovecot-lda: {result.stderr.decode(errors='replace')}")

    def doveadm(self, user, *arguments, expect=0, timeout=120, **settings):
        """Runs doveadm for a user and returns its output; another exit status raises."""
        command = [*self._command("doveadm", settings), "-o", "log_path=/dev/stderr", *arguments]
        result = self._lab.run(command, uid=MAIL_UID, gid=MAIL_GID, cwd="/", timeout=timeout,
                               env=self._environment(user))
        with open(self.log, "ab") as log:
            log.write(result.stderr)
        if result.returncode != expect:
            raise RuntimeError(f"doveadm {' '.join(map(str, arguments))}: status "
                               f"{result.returncode}: {result.stderr.decode(errors='replace')}")
        return result.stdout.decode()

    @contextlib.contextmanager
    def master(self):
        """A running Dovecot on loopback ports; gives a Master."""
        with open(self.log, "ab") as log:
            process = self._lab.spawn(["dovecot", "-F", "-c", self.config], stdout=log,
                                      stderr=log)
        try:
            wait_until(lambda: self._answers(process), "Dovecot answers on its ports")
            yield Master(self._imap_port, self._pop3_port, self._lmtp_port)
        finally:
            process.send_signal(signal.SIGTERM)
            self._lab.end(process)

    def _answers(self, process):
        if process.poll() is not None:
            raise RuntimeError(f"Dovecot did not start: {self.log.read_text()}")
        for port in (self._imap_port, self._pop3_port, self._lmtp_port):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
            except OSError:
                return False
        return True

    def forget_index(self):
        """Deletes Dovecot's indexes, as an administrator may at any time."""
        shutil.rmtree(self.index, ignore_errors=True)

    def complaints(self):
        """What Dovecot logged as an error or a warning since the last call."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        fresh, self._read = text[self._read:], len(text)
        return [line for line in fresh.splitlines()
                if any(word in line for word in COMPLAINTS) and NO_COMPLAINT not in line]


class Master:
    """The network side of a running Dovecot."""

    def __init__(self, imap_port, pop3_port, lmtp_port):
        self.imap_port = imap_port
        self.pop3_port = pop3_port
        self._lmtp_port = lmtp_port

    def imap(self, user, password="secret"):
        """An IMAP session over TCP, logged in."""
        session = Imap(Connection.to_port(self.imap_port))
        try:
            session.command("LOGIN", user, password)
        except Refused:
            session.close()
            raise
        return session

    def pop3(self, user, password="secret"):
        """A POP3 session over TCP, logged in."""
        session = Pop3(Connection.to_port(self.pop3_port))
        try:
            session.command("USER", user)
            session.command("PASS", password)
        except Refused:
            session.close()
            raise
        return session

    def deliver(self, user, message):
        """A delivery by LMTP."""
        with smtplib.LMTP("127.0.0.1", self._lmtp_port, timeout=30) as lmtp:
            lmtp.sendmail("sender@example.org", [user], message)
