"""scripts/compare-servers between real servers: silent where they agree, exact where they do not."""

import json
import os

import pytest

from servers.courier_files import SIZE_LIST, UID_DATABASE, edit
from servers.lab import TOP, as_mail_user
from servers.store import ANN, BOB, letter

SCRIPT = TOP / "scripts/compare-servers"
BOTH = [ANN, BOB]


class Comparison:
    """The script, between Courier on a store and Dovecot on a mount."""

    def __init__(self, site):
        self.site = site
        self.lab = site.lab
        self.files = self.lab.new_directory("compare")

    def passwords(self, users, password="secret"):
        """A file with passwords."""
        path = self.files / "passwords"
        path.write_text("".join(f"{user}:{password}\n" for user in users))
        return path

    def run(self, store, users, *options, status=0):
        """(standard output, standard error) with Courier on this store."""
        with self.site.courier.ports(store) as ports, self.site.dovecot.master() as master:
            done = self.lab.run(
                [SCRIPT, "--tls", "none", "--passwords", self.passwords(users),
                 "--courier", "127.0.0.1", "--courier-imap", ports[0], "--courier-pop3", ports[1],
                 "--dovecot", "127.0.0.1", "--dovecot-imap", master.imap_port,
                 "--dovecot-pop3", master.pop3_port, "--pause", "0", *options])
        assert done.returncode == status, done.stdout.decode() + done.stderr.decode()
        return done.stdout.decode(), done.stderr.decode()

    def differences(self, store, user):
        """{(kind, where, item)} of what differs, in an account."""
        out, _ = self.run(store, [user], "--json", "--again", "0", status=1)
        row = json.loads(out.splitlines()[0])
        assert row["account"] == user and not row["errors"], row
        return {(f["kind"], f["where"], str(f["item"])) for f in row["differences"]}


@pytest.fixture(name="compare")
def make_comparison(site):
    """Every account has been used by both servers before, as on a site that runs both."""
    for user in BOTH:
        site.agree(user)
    return Comparison(site)


def test_the_same_store(compare, site):
    """Both servers on the same mail: equal, and nothing changed by the asking."""
    before = {user: site.ask_dovecot(user) for user in BOTH}
    out, _ = compare.run(site.store, BOTH)
    assert "2 equal, 0 with differences, 0 with errors" in out
    assert "Equal: both servers give the same answers." in out
    assert before == {user: site.ask_dovecot(user) for user in BOTH}


def test_each_difference_is_named(compare, site):
    """What one server alone did is told, by the message, and nothing else."""
    copy = site.store.copy(site.lab)
    try:
        maildir = copy.maildir(ANN)
        with site.courier.imap(maildir) as imap:
            imap.select("INBOX")
            uids = imap.uids()
            imap.command(f"UID STORE {uids[0]} +FLAGS (\\Answered)")
            imap.command(f"UID STORE {uids[1]} +FLAGS (Later)")
            imap.command(f"UID STORE {uids[2]} +FLAGS (\\Deleted)")
            imap.command("EXPUNGE")
            imap.command("CREATE INBOX.OnlyCourier")
            imap.command("SUBSCRIBE INBOX.OnlyCourier")
        with as_mail_user():
            name = next(name for name in os.listdir(maildir / "cur")
                        if (maildir / "cur" / name).stat().st_mtime < 1.79e9)
            os.utime(maildir / "cur" / name, (10**9, 10**9))
        told = compare.differences(copy, ANN)
        date = {found for found in told if found[0] == "INTERNALDATE"}
        gone = {found for found in told if found[0] == "POP3 message"}
        assert told - date - gone == {
            ("flag", "INBOX", str(uids[0])), ("keyword", "INBOX", str(uids[1])),
            ("message", "INBOX", str(uids[2])), ("mailbox", "INBOX.OnlyCourier", "None"),
            ("subscription", "INBOX.OnlyCourier", "None")}
        assert len(date) == len(gone) == 1
    finally:
        copy.discard()


def test_identities(compare, site):
    """A message with another UID, one with another UIDL, a mailbox with another UIDVALIDITY."""
    copy = site.store.copy(site.lab)
    try:
        def last_uid(text):
            head, *lines = text.splitlines(keepends=True)
            fields = head.split()
            fields[2] = b"901"
            uid, rest = lines[-1].split(b" ", 1)
            assert int(uid) < 900
            return b" ".join(fields) + b"\n" + b"".join(lines[:-1]) + b"900 " + rest

        def first_uidl(text):
            head, first, *rest = text.splitlines(keepends=True)
            words = first.split(b" ")
            words[2] = words[2].replace(b":", b"9:", 1)
            return head + b" ".join(words) + b"".join(rest)

        edit(copy.folder(ANN, "INBOX.Sent") / UID_DATABASE, last_uid)
        edit(copy.maildir(BOB) / SIZE_LIST, first_uidl)
        assert {(kind, where) for kind, where, _ in compare.differences(copy, ANN)} == \
            {("UID", "INBOX.Sent"), ("UIDNEXT", "INBOX.Sent")}
        assert {(kind, where) for kind, where, _ in compare.differences(copy, BOB)} == \
            {("UIDL", "POP3")}
        edit(copy.folder(ANN, "INBOX.Sent") / UID_DATABASE,
             lambda text: text.replace(b"1 ", b"1 1", 1))
        assert ("UIDVALIDITY", "INBOX.Sent", "None") in compare.differences(copy, ANN)
    finally:
        copy.discard()


def test_what_cannot_be_asked(compare, site):
    """A wrong password is an error of that account alone; no server at all ends the run."""
    with site.courier.ports(site.store) as ports, site.dovecot.master() as master:
        file = compare.files / "some"
        file.write_text(f"{ANN}:secret\n{BOB}:wrong\n")
        words = [SCRIPT, "--tls", "none", "--passwords", file, "--courier", "127.0.0.1",
                 "--courier-imap", ports[0], "--courier-pop3", ports[1], "--dovecot", "127.0.0.1",
                 "--dovecot-imap", master.imap_port, "--dovecot-pop3", master.pop3_port]
        done = site.lab.run([*words, "--pause", "0", "--again", "0"])
    assert done.returncode == 1
    text = done.stdout.decode()
    assert f"{BOB}: NOT EQUAL" in text and "login refused" in text
    assert "1 equal, 0 with differences, 1 with errors" in text and "secret" not in text
    done = site.lab.run(words)
    assert done.returncode == 1 and b"cannot connect" in done.stderr


def test_new_mail_and_odd_names(compare, site):
    """Mail that came since, in folders with umlauts, is shown alike after a visit of both."""
    with site.dovecot.imap(ANN) as imap:
        imap.append("INBOX.Entwürfe", letter(4001), "\\Seen Neu")
    site.dovecot.deliver(ANN, letter(4002))
    compare.run(site.store, [ANN])
