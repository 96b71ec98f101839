"""A store that is full, read-only or away, and a state directory that is full or damaged."""

import contextlib
import errno
import os
import shutil

import pytest

from servers.answers import nothing_in, same
from servers.fault_operations import BROKEN, IDA, JAN, KIM, Told, wire_digest
from servers.fault_place import (  # pylint: disable=unused-import
    COMPLAINTS, build_templates, make_place, mount_over, new_site, unmount)
from servers.faults import CHANGES, FOR_EVER, LOOKS
from servers.lab import MAIL_GID, MAIL_UID, STORES, as_mail_user, wait_until
from servers.ledger import Ledger
from servers.store import letter

pytestmark = pytest.mark.skipif(bool(STORES), reason="faults are put below the daemon, not on NFS")

# ---- the disk is full, or read-only, or away ----

def noted(ledger, told, site, user):
    """The answers on which both servers agree, entered in the ledger."""
    answers = site.agree(user)
    ledger.note(user, answers)
    nothing_in(told.broken_by(answers, {}, frozenset()), "told and not true")
    return answers


@pytest.mark.parametrize("limit", ["size=600k", "size=8m,nr_inodes=160"], ids=["bytes", "inodes"])
def test_the_disk_is_full(lab, courier, templates, limit):
    """APPEND says why it cannot; no mailbox looks empty; after a deletion all is as before."""
    path = lab.new_directory("small", owned_by_mail_user=True)
    mount_over(lab, path, "-t", "tmpfs", "-o", f"{limit},uid={MAIL_UID},gid={MAIL_GID},mode=755",
               "tmpfs")
    site = new_site(lab, courier, templates, path)
    site.mount.expect_error(COMPLAINTS)
    ledger, told = Ledger(), Told()
    with site:
        ledger.note(IDA, site.ask_dovecot(IDA))
        fill_up(site, told)
        with site.dovecot.imap(IDA) as imap:
            told.select(imap, "INBOX")
            imap.command("UID FETCH 1:* (UID BODY.PEEK[])")
        with pytest.raises(BROKEN), site.dovecot.imap(KIM) as imap:
            imap.select("INBOX")
        free_some(site)
        noted(ledger, told, site, IDA)
        with site.dovecot.imap(IDA) as imap:
            imap.append("INBOX", letter(950), "\\Seen Again")
        assert len(noted(ledger, told, site, IDA).folders["INBOX"].messages) > 4
        assert len(noted(ledger, Told(), site, KIM).folders["INBOX"].messages) == 4
        site.dovecot.complaints()
    unmount(lab, path)


def fill_up(site, told):
    """APPENDs until there is no room; what is left is eaten by another program."""
    for number in range(300):
        with site.dovecot.imap(IDA) as imap:
            message = letter(1003 + number * 4)
            reply = imap.append("INBOX", message, "\\Seen Full", expect=None)
        if reply.status != "OK":
            break
        told.assigned("INBOX", reply.code("APPENDUID"), [wire_digest(message)])
    assert reply.status == "NO", reply
    assert any(word in reply.text.lower() for word in ("space", "quota", "internal error")), reply
    with contextlib.suppress(OSError), as_mail_user():
        for number in range(1000):
            (site.store.maildir(JAN) / f"ballast{number}").write_bytes(b"x" * 4096)


def free_some(site):
    """Another user's mail goes."""
    shutil.rmtree(site.store.maildir(JAN))


def test_a_read_only_store(lab, courier, templates):
    """Remounted read-only below a mount that writes: it is read on, and written again later."""
    path = lab.new_directory("store", owned_by_mail_user=True)
    mount_over(lab, path, "--bind", str(path))
    site = new_site(lab, courier, templates, path)
    site.mount.expect_error("Read-only file system")
    ledger, told = Ledger(), Told()
    with site:
        before = noted(ledger, told, site, IDA)
        mount_over(lab, path, "-o", "remount,bind,ro")
        with site.dovecot.imap(IDA) as imap:
            told.select(imap, "INBOX")
            imap.command("UID FETCH 1:* (UID BODY.PEEK[])")
            assert imap.append("INBOX", letter(950), "\\Seen", expect=None).status == "NO"
            imap.command("UID STORE 1 +FLAGS (\\Answered)", expect=None)
            imap.command("SUBSCRIBE INBOX.Target", expect="NO")
            imap.command("CREATE INBOX.More", expect="NO")
        with pytest.raises(BROKEN), site.dovecot.imap(KIM) as imap:
            imap.select("INBOX")
        mount_over(lab, path, "-o", "remount,bind,rw")
        site.dovecot.forget_index()  # which may have kept the flag
        assert noted(ledger, told, site, IDA).folders == before.folders
        with site.dovecot.imap(IDA) as imap:
            imap.append("INBOX", letter(950), "\\Seen")
            imap.command("SUBSCRIBE INBOX.Target")
            imap.command("CREATE INBOX.More")
        after = noted(ledger, told, site, IDA)
        assert len(after.folders["INBOX"].messages) == len(before.folders["INBOX"].messages) + 1
        assert len(noted(ledger, Told(), site, KIM).folders["INBOX"].messages) == 4
        site.dovecot.complaints()
    unmount(lab, path)


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.ENOENT, errno.EACCES],
                         ids=errno.errorcode.get)
def test_the_store_vanishes(place, number):
    """Every call fails for a while: errors, never an empty mailbox, and then it is as before."""
    site = place.site
    site.mount.expect_error(os.strerror(number))
    users = [place.new_user(IDA), place.new_user(JAN), place.new_user(KIM)]
    before = {user: site.ask_dovecot(user) for user in users[:2]}
    with site.dovecot.imap(users[0]) as open_session:
        open_session.select("INBOX")
        place.faults.arm(1, FOR_EVER, action=number, kinds=CHANGES | LOOKS)
        for user in users:
            answers_nothing(site, user)
        with contextlib.suppress(*BROKEN):
            reply = open_session.command("NOOP", expect=None)
            assert not reply.named("EXPUNGE") and not reply.named("VANISHED")
        place.faults.disarm()
        open_session.close()
    for user in users[:2]:
        same(before[user], site.agree(user), "after the store came back")
    assert len(site.agree(users[2]).folders["INBOX"].messages) == 4
    place.no_lies()


def answers_nothing(site, user):
    """Asserts that no session is told of an empty mailbox."""
    with contextlib.suppress(*BROKEN):
        with site.dovecot.imap(user) as imap:
            reply = imap.select("INBOX")
            raise AssertionError(f"SELECT of a mailbox that is away: {reply}")
    with contextlib.suppress(*BROKEN):
        with site.dovecot.pop3(user) as pop3:
            raise AssertionError(f"POP3 of a mailbox that is away: {pop3.uidls()}")


def test_the_stores_directory_is_renamed(lab, courier, templates):
    """The daemon serves the directory that it was started on, whatever is called so now."""
    path = lab.new_directory("store", owned_by_mail_user=True)
    site = new_site(lab, courier, templates, path)
    with site:
        before = site.agree(IDA)
        away = path.with_name("away")
        path.rename(away)
        same(before, site.ask_dovecot(IDA), "while it has another name")
        path.mkdir()
        same(before, site.ask_dovecot(IDA), "while another directory has its name")
        path.rmdir()
        away.rename(path)
        same(before, site.agree(IDA), "when it has its name again")


# ---- the state directory ----

def test_the_state_directory_is_full(lab, courier, templates):
    """Answers are the same, and the log says it once."""
    site = new_site(lab, courier, templates,
                    lab.new_directory("store", owned_by_mail_user=True))
    mount_over(lab, site.mount.state, "-t", "tmpfs", "-o", "size=6m,mode=700", "tmpfs")
    with site:
        with contextlib.suppress(OSError), open(site.mount.state / "ballast", "wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        before = site.agree(IDA)
        for user in (JAN, KIM):
            site.agree(user)
        with site.dovecot.imap(IDA) as imap:
            imap.append("INBOX", letter(950), "\\Seen Word")
        assert len(site.agree(IDA).folders["INBOX"].messages) == 5
        assert len(site.mount.log_lines("warning")) <= 1, site.mount.log_lines("warning")
        assert before.folders["INBOX"].messages.items() <= \
            site.ask_dovecot(IDA).folders["INBOX"].messages.items()
    unmount(lab, site.mount.state)


def halved(content):
    """The first half of a file."""
    return content[:len(content) // 2]


def turned(content):
    """A file with a page in the middle turned over."""
    middle = len(content) // 2 // 4096 * 4096
    page = bytes(byte ^ 0xff for byte in content[middle:middle + 4096])
    return content[:middle] + page + content[middle + 4096:]


def replaced(_):
    """Something else."""
    return b"no" * 9


def emptied(_):
    """Nothing."""
    return b""


@pytest.mark.parametrize("damage, was_killed", [
    (halved, False), (turned, False), (emptied, False), (replaced, False),
    (halved, True), (turned, True)])
def test_a_damaged_cache(lab, courier, templates, damage, was_killed):
    """The same answers, a new cache, one line in the log."""
    site = new_site(lab, courier, templates,
                    lab.new_directory("store", owned_by_mail_user=True))
    if "nocache" in site.mount.options:
        pytest.skip("there is no cache")
    with site:
        before = {user: site.agree(user) for user in (IDA, JAN, KIM)}
        if was_killed:
            wait_until(lambda: "cache: 0 entries" not in site.mount.status(), "the cache has it")
            site.mount.kill()
        else:
            site.mount.stop()
        damage_cache(site.mount.state, damage)
        site.mount.start()
        for user, answers in before.items():
            same(answers, site.agree(user), "with a damaged cache")
        lines = [line for line in site.mount.log_lines("warning") + site.mount.log_lines("info")
                 if "cache" in line]
        # After a kill only what is still in use is looked at, not every byte.
        assert len(lines) == 1 or (was_killed and not lines), lines


def damage_cache(state, damage):
    """Changes the cache's file."""
    path = max((p for p in state.iterdir() if p.name.startswith("cache")),
               key=lambda p: p.stat().st_size)
    path.write_bytes(damage(path.read_bytes()))
