"""courierctl verify: finds what a conversion must not have changed, and nothing else."""

import pytest

from servers.conversion import Ctl
from servers.courier_files import edit
from servers.dovecot import Dovecot
from servers.lab import as_mail_user
from servers.store import ANN, BOB, CEM, GUS, letter


@pytest.fixture(name="ctl")
def make_ctl(lab, store):
    """courierctl for a store that was just converted."""
    ctl = Ctl(lab, store)
    ctl.run("convert")
    return ctl


def replace(old, new):
    """An edit that must find what it replaces."""
    def change(content):
        assert old in content, content
        return content.replace(old, new, 1)
    return change


def drop_line(number):
    """An edit that takes a line out."""
    def change(content):
        lines = content.splitlines(keepends=True)
        return b"".join(lines[:number] + lines[number + 1:])
    return change


def exchange_uids(content):
    """The first two messages get each other's UID."""
    lines = content.splitlines(keepends=True)
    first, second = (line.partition(b" ")[0] for line in lines[1:3])
    lines[1], lines[2] = (first + lines[2][len(second):], second + lines[1][len(first):])
    return b"".join(lines)


def other_validity(content):
    """Another UIDVALIDITY."""
    return content.replace(b" V", b" V1", 1)


def another_uidl(content):
    """The first message with a UIDL of its own gets another."""
    return replace(b" P", b" Pother", )(content)


DAMAGES = {
    "UIDVALIDITY": (ANN, "INBOX", "dovecot-uidlist", other_validity, "UIDVALIDITY is "),
    "a lost message": (BOB, "INBOX", "dovecot-uidlist", drop_line(1), "is not in Dovecot's list"),
    "other UIDs": (GUS, "INBOX.A.B.C", "dovecot-uidlist", exchange_uids, "has UID 2, Courier's is 1"),
    "a UIDL": (CEM, "INBOX", "dovecot-uidlist", another_uidl, "has the UIDL 'other"),
    "a keyword": (GUS, "INBOX.A.B.C", "dovecot-keywords", replace(b"$Label3", b"Else"),
                  "has the keywords ["),
    "a subscription": (ANN, "INBOX", "subscriptions", drop_line(0),
                       "is subscribed in Courier's file only"),
    "rights": (BOB, "INBOX.Work", "dovecot-acl", lambda content: content + b"user=eve lr\n",
               "dovecot-acl says something else"),
}


def test_a_conversion_is_right(ctl):
    """Nothing is found, and nothing is changed by looking."""
    out, _ = ctl.run("verify")
    assert out.startswith("7 of 7 accounts: 30 mailboxes with 80 messages compared, 30 agree, 0 diff")


@pytest.mark.parametrize("what", DAMAGES)
def test_finds(ctl, what):
    """One thing is another than Courier's: it is named, with its mailbox."""
    user, folder, name, damage, text = DAMAGES[what]
    directory = ctl.store.folder(user, folder)
    edit(directory / name, damage)
    out, _ = ctl.run("verify", expect=1)
    lines = [line for line in out.splitlines() if text in line]
    assert lines and all(
        line.startswith(f"{directory.relative_to(ctl.store.path)}: ") for line in lines), out


def test_finds_another_order(ctl):
    """POP3's order."""
    def backwards(content):
        orders = [f"O{n} ".encode() for n in range(1, 9)]
        assert all(order in content for order in orders), content
        content = content.replace(b"O1 ", b"O0 ").replace(b"O2 ", b"O1 ").replace(b"O0 ", b"O2 ")
        return content

    edit(ctl.store.maildir(CEM) / "dovecot-uidlist", backwards)
    out, _ = ctl.run("verify", "--identity", expect=1)
    assert "at a place where Courier lists UID" in out


def test_later_work_is_no_difference_of_identity(lab, ctl):
    """New mail, flags, keywords and folders since the conversion: only the last two show, and not
    where just the identity is asked for."""
    dovecot = Dovecot(lab, ctl.store.path)
    dovecot.deliver(ANN, letter(3000))
    with dovecot.imap(ANN) as imap:
        imap.select("INBOX")
        imap.command("STORE 1:* +FLAGS (\\Flagged New)")
        imap.command("STORE 1 +FLAGS (\\Deleted)")
        imap.command("EXPUNGE")
        imap.command("CREATE INBOX.Later")
        imap.append("INBOX.Later", letter(3001))
    ctl.run("verify", "--identity")
    out, _ = ctl.run("verify", expect=1)
    assert all("has the keywords" in line for line in out.splitlines()[:-1]), out


def test_a_courier_afterwards_shows(ctl):
    """A Courier that was let in all the same has left a uid database."""
    directory = ctl.store.folder(BOB, "INBOX.Work")
    with as_mail_user():
        (directory / "courierimapuiddb").write_text("1 5 1\n")
    out, _ = ctl.run("verify", expect=1)
    assert "a Courier was here" in out


def test_what_is_not_converted_is_named(lab, store):
    """A store that nobody converted."""
    out, _ = Ctl(lab, store).run("verify", "example.org/bob", expect=1)
    assert out.count("is not converted") == 7, out
