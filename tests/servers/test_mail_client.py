"""A real client with a memory: mbsync, moved from Courier to Dovecot and back."""

import os

import pytest

from servers.courier import deliver
from servers.lab import MAIL_GID, MAIL_UID
from servers.store import ANN, letter

SETTINGS = """
IMAPStore server
Tunnel "{tunnel}"

MaildirStore local
Path {local}/
Inbox {local}/INBOX
SubFolders Verbatim

Channel all
Far :server:
Near :local:
Patterns *
Create Near
Expunge Both
SyncState *
"""


class Client:
    """mbsync with its local copy of Ann's mail."""

    def __init__(self, lab):
        self._lab = lab
        self.home = lab.new_directory("client", owned_by_mail_user=True)
        self.local = self.home / "mail"
        os.mkdir(self.local)
        os.chown(self.local, MAIL_UID, MAIL_GID)

    def sync(self, tunnel):
        """One run through a tunnel: a program that talks IMAP and is logged in."""
        settings = self.home / "mbsyncrc"
        settings.write_text(SETTINGS.format(tunnel=tunnel, local=self.local))
        done = self._lab.run(["mbsync", "-c", settings, "all"], uid=MAIL_UID, gid=MAIL_GID,
                             cwd=self.home, timeout=60,
                             env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"})
        assert done.returncode == 0, done.stderr.decode()

    def files(self):
        """The inodes of all messages: a message that is fetched again is another file."""
        return {os.stat(path).st_ino for part in ("cur", "new")
                for path in self.local.rglob(f"{part}/*")}


@pytest.fixture(name="client")
def make_client(lab):
    """A client that has no mail yet."""
    return Client(lab)


def test_a_client_that_is_moved_fetches_nothing_again(site, client):
    """Courier, then Dovecot, then Courier: the same files stay on the client's disk."""
    couriers = site.courier.tunnel(site.store.maildir(ANN))
    dovecots = site.dovecot.tunnel(ANN)
    client.sync(couriers)
    fetched = client.files()
    assert len(fetched) > 25
    for tunnel in (dovecots, couriers, dovecots):
        client.sync(tunnel)
        assert client.files() == fetched
    deliver(site.store.maildir(ANN), letter(1))
    for tunnel in (dovecots, couriers):
        client.sync(tunnel)
        now = client.files()
        assert now > fetched and len(now) == len(fetched) + 1
    site.agree(ANN)


def test_what_the_client_does_reaches_both(site, client):
    """A message it wrote and one it deleted arrive through Dovecot and stay so."""
    couriers = site.courier.tunnel(site.store.maildir(ANN))
    dovecots = site.dovecot.tunnel(ANN)
    client.sync(dovecots)
    before = site.agree(ANN).folders["INBOX.Sent"].messages
    box = client.local / "Sent"
    gone = sorted((box / "cur").iterdir())[0]
    gone.rename(gone.with_name(gone.name + "T"))
    path = box / "cur" / "1800000000.mine:2,S"
    path.write_bytes(letter(1))
    os.chown(path, MAIL_UID, MAIL_GID)
    client.sync(dovecots)
    after = site.agree(ANN).folders["INBOX.Sent"].messages
    assert len(after) == len(before)
    assert len(set(after) & set(before)) == len(before) - 1
    files = client.files()
    client.sync(couriers)
    assert client.files() == files
