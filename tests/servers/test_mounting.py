"""Mounting and unmounting: by hand, by mount(8), from fstab, read-only, and what is refused."""

import hashlib
import os
import signal
import stat

import pytest

from servers.answers import same
from servers.lab import BUILD, TOP, as_mail_user, children, wait_until
from servers.mount import COURIERFS, Mount, suite_options
from servers.site import Site
from servers.store import ANN, BOB, CEM, DAN

EXAMPLE = TOP / "mount-examples" / "fstab"


def refusal(lab, *arguments):
    """The one line on standard error of a courierfs that refuses to start."""
    done = lab.run([COURIERFS, *arguments])
    text = done.stderr.decode()
    assert done.returncode == 1, text
    assert done.stdout == b""
    assert text.count("\n") == 1 and text.startswith("courierfs: "), text
    return text


@pytest.fixture(name="places")
def make_places(lab, store):
    """(store, mount point, state directory) of a mount that would work."""
    state = lab.new_directory("state")
    state.chmod(0o700)
    return store.path, lab.new_directory("mail"), state


def test_the_store_is_missing(lab, places):
    """The line names the path and the reason; no state is made."""
    _, point, state = places
    text = refusal(lab, "-f", "/no/such/store", point, "-o", f"state={state}")
    assert "/no/such/store" in text and "No such file or directory" in text
    assert os.listdir(state) == []


def test_the_store_is_no_directory(lab, places):
    """Likewise for a file."""
    _, point, state = places
    text = refusal(lab, "-f", "/etc/passwd", point, "-o", f"state={state}")
    assert "/etc/passwd" in text and "Not a directory" in text
    assert os.listdir(state) == []


def test_the_mount_point_is_missing(lab, places):
    """Likewise for the mount point."""
    store, _, state = places
    text = refusal(lab, "-f", store, "/no/such/point", "-o", f"state={state}")
    assert "/no/such/point" in text and "No such file or directory" in text


def test_the_mount_point_is_busy(lab, places):
    """Something is mounted there already, even another courierfs with its own state."""
    store, _, state = places
    with Mount(lab, store) as mount:
        text = refusal(lab, "-f", store, mount.point, "-o", f"state={state}")
        assert str(mount.point) in text
        assert os.listdir(mount.point), "the first mount still answers"


def test_the_state_directory_cannot_be_used(lab, places):
    """A file in its place, or a directory that others may write."""
    store, point, state = places
    (state / "file").touch()
    text = refusal(lab, "-f", store, point, "-o", f"state={state / 'file'}")
    assert str(state / "file") in text
    (state / "open").mkdir()
    (state / "open").chmod(0o777)
    text = refusal(lab, "-f", store, point, "-o", f"state={state / 'open'}")
    assert str(state / "open") in text


def test_the_state_directory_is_in_use(lab, places):
    """Two mounts never share one."""
    store, point, _ = places
    with Mount(lab, store) as mount:
        text = refusal(lab, "-f", store, point, "-o", f"state={mount.state}")
        assert str(mount.state) in text


@pytest.mark.parametrize("options", [
    "nosuchoption", "cachesize=many", "cachesize=-1", "attr_timeout=soon", "state=",
    "state=relative/path", "cachesize="])
def test_options_are_checked_first(lab, places, options):
    """A wrong option is named, and nothing has happened yet."""
    store, point, state = places
    words = options if options.startswith("state") else f"state={state},{options}"
    text = refusal(lab, "-f", store, point, "-o", words)
    assert options.partition("=")[0] in text
    assert os.listdir(state) == []


def test_arguments_are_missing(lab, places):
    """The line says how it is called."""
    for arguments in ((), (places[0],), (*places, "more")):
        assert "usage" in refusal(lab, *arguments).lower()


def test_the_state_directory_is_private(site):
    """It is root's alone, and so is everything in it."""
    site.ask_dovecot(ANN)
    for directory, _, files in os.walk(site.mount.state):
        for path in (directory, *(os.path.join(directory, name) for name in files)):
            status = os.stat(path)
            assert status.st_uid == 0
            assert stat.S_IMODE(status.st_mode) & 0o077 == 0


def test_the_state_directory_is_made(lab, courier, store):
    """A state directory that does not exist yet is made, its parent being there."""
    site = Site(lab, courier, store)
    site.mount.state.rmdir()
    with site:
        site.agree(ANN)
    assert stat.S_IMODE(site.mount.state.stat().st_mode) == 0o700


def test_a_damaged_cache_is_set_aside(site):
    """Garbage in the state directory costs a log line, never an answer."""
    before = site.ask_dovecot(ANN)
    site.mount.stop()
    for directory, _, files in os.walk(site.mount.state):
        for name in files:
            with open(os.path.join(directory, name), "wb") as file:
                file.write(os.urandom(5000))
    site.mount.expect_error(str(site.mount.state))
    site.mount.start()
    same(before, site.ask_dovecot(ANN), "after the cache was damaged")
    site.agree(ANN)


def daemons():
    """The pids of courierfs daemons that left their parent."""
    return [pid for pid in children()
            if os.path.realpath(f"/proc/{pid}/exe") == str(COURIERFS)]


@pytest.fixture(name="path_with_courierfs")
def make_environment():
    """An environment in which mount(8) finds courierfs."""
    return os.environ | {"PATH": f"{BUILD}:{os.environ['PATH']}"}


def test_mount_by_type(lab, courier, store, path_with_courierfs):
    """`mount -t fuse.courierfs` returns when the mount is there; umount ends the daemon."""
    site = Site(lab, courier, store)
    options = ",".join([f"state={site.mount.state}", *suite_options()])
    done = lab.run(["mount", "-t", "fuse.courierfs", store.path, site.mount.point, "-o", options],
                   env=path_with_courierfs)
    assert done.returncode == 0, done.stderr
    assert site.mount.is_mounted() and len(daemons()) == 1
    site.agree(ANN)
    assert lab.run(["umount", site.mount.point]).returncode == 0
    wait_until(lambda: reaped(daemons()), "the daemon ends")
    site.check()


def reaped(pids):
    """Whether all these children have ended; collects those that have."""
    for pid in pids:
        os.waitpid(pid, os.WNOHANG)
    return not pids


def test_the_line_of_the_fstab_example(lab, courier, store, path_with_courierfs):
    """The line that administrators copy, with the paths of the test in it."""
    site = Site(lab, courier, store)
    table = lab.new_directory("fstab") / "fstab"
    text = EXAMPLE.read_text(encoding="utf-8")
    for words, ours in (("/nfs/mail", store.path), ("/srv/mail", site.mount.point),
                        ("/var/cache/courierfs", site.mount.state)):
        assert words in text
        text = text.replace(words, str(ours))
    table.write_text(text, encoding="utf-8")
    done = lab.run(["mount", "-T", table, site.mount.point], env=path_with_courierfs)
    assert done.returncode == 0, done.stderr
    site.agree(BOB)
    assert lab.run(["umount", site.mount.point]).returncode == 0
    wait_until(lambda: reaped(daemons()), "the daemon ends")
    site.check()


def fingerprint(top):
    """Everything about a tree that a write would change."""
    found = {}
    for directory, names, files in os.walk(top):
        for name in [".", *names, *files]:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content = b""
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).digest()
            found[path] = (status.st_mode, status.st_uid, status.st_gid, status.st_size,
                           status.st_mtime_ns, status.st_ctime_ns, status.st_ino, content)
    return found


@pytest.mark.parametrize("user", [ANN, CEM, DAN])
def test_read_only(lab, courier, store, user):
    """-o ro: doveadm backup works, the store stays as it is to the last byte and time."""
    expected = Site(lab, courier, store).ask_courier_on_a_copy(user)
    before = fingerprint(store.path)
    with Site(lab, courier, store, options=["ro"]) as site:
        destination = f"sdbox:{site.dovecot.home}/copy"
        for _ in range(2):
            site.dovecot.doveadm(user, "backup", destination)
        with site.dovecot.imap(user, mail_location=destination) as imap:
            for name, folder in expected.folders.items():
                imap.examine(name)
                flags = imap.flags()
                assert flags == {u: set(m.flags) for u, m in folder.messages.items()}, name
        with as_mail_user(), pytest.raises(OSError):
            (site.seen(user) / "cur" / "new").write_bytes(b"x")
    assert fingerprint(store.path) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_unmount(lab, store, number):
    """The daemon unmounts, ends with status 0 and complains of nothing."""
    mount = Mount(lab, store.path)
    mount.start()
    os.listdir(mount.point)
    mount.process.send_signal(number)
    assert lab.end(mount.process) == 0
    assert not mount.is_mounted()
    assert mount.unexpected_errors() == []


def test_sigterm_while_in_use(site):
    """A session that is open when the mount goes away gets errors, never an empty mailbox."""
    before = site.ask_dovecot(ANN)
    imap = site.dovecot.imap(ANN)
    imap.select("INBOX")
    site.mount.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not site.mount.is_mounted(), "the mount goes away")
    imap.close()
    site.mount.stop()
    site.dovecot.complaints()
    same(before, site.ask_courier(ANN), "Courier after SIGTERM")
    site.mount.start()
    same(before, site.ask_dovecot(ANN), "mounted again")


def test_a_dead_daemon_is_an_error(site):
    """After kill -9 every call fails; nothing looks like an empty mailbox."""
    site.ask_dovecot(ANN)
    site.mount.process.kill()
    site.mount.process.wait(30)
    with as_mail_user():
        for path in (site.seen(ANN) / "cur", site.seen(ANN), site.mount.point):
            with pytest.raises(OSError):
                os.listdir(path)


def test_the_store_goes_away(site, lab):
    """A store that disappears below the mount is an error as well."""
    site.ask_dovecot(ANN)
    site.mount.expect_error(".")
    hidden = lab.path / "elsewhere"
    site.store.maildir(ANN).parent.rename(hidden)
    with as_mail_user(), pytest.raises(OSError):
        os.listdir(site.seen(ANN) / "cur")
    hidden.rename(site.store.maildir(ANN).parent)
    site.agree(ANN)
