"""Mounting and unmounting: by hand, by mount(8), from fstab, read-only, and what is refused."""

import contextlib
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

EXAMPLES = TOP / "mount-examples"


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


def test_mounted_again_at_once(lab, places):
    """umount is back before the daemon has ended; the next mount waits for its state directory."""
    store, point, state = places
    for _ in range(5):
        done = lab.run([COURIERFS, store, point, "-o", f"state={state}"])
        assert done.returncode == 0, done.stderr
        assert lab.run(["umount", point]).returncode == 0


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


def daemon():
    """The pid of the one courierfs that left its parent, and is ours by adoption."""
    found = []
    for pid in children():
        with contextlib.suppress(FileNotFoundError):
            if os.path.samefile(f"/proc/{pid}/exe", COURIERFS):
                found.append(pid)
    assert len(found) == 1
    return found[0]


def run_mount(lab, *arguments):
    """mount(8) with build/ in the place of /usr/local/bin, where it looks for courierfs.

    Only mount(8) and the daemon see that place so. What they mount is seen by all.
    """
    script = 'mount --make-private / && mount --bind "$0" /usr/local/bin && exec mount "$@"'
    done = lab.run(["unshare", "--mount", "--propagation", "unchanged",
                    "sh", "-c", script, BUILD, *arguments])
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(name="idle_site")
def make_idle_site(request, lab, courier, store):
    """A site that is not mounted; what is mounted on its mount point is seen everywhere."""
    site = Site(lab, courier, store, getattr(request, "param", ()))
    shared = lab.new_directory("shared")
    for words in (["--bind", shared, shared], ["--make-shared", shared]):
        assert lab.run(["mount", *words]).returncode == 0
    site.mount.point.rmdir()
    (shared / "mail").mkdir()
    site.mount.point.symlink_to(shared / "mail")
    yield site
    lab.run(["umount", "-R", shared])


def unmount(site):
    """umount, and the end of the daemon."""
    pid = daemon()
    assert site.lab.run(["umount", site.mount.point.resolve()]).returncode == 0
    wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0], "the daemon ends")
    site.check()


def test_mount_by_type(lab, idle_site):
    """`mount -t fuse.courierfs` returns when the mount is there; umount ends the daemon."""
    mount = idle_site.mount
    options = ",".join([f"state={mount.state}", *suite_options()])
    run_mount(lab, "-t", "fuse.courierfs", mount.store, mount.point.resolve(), "-o", options)
    idle_site.agree(ANN)
    unmount(idle_site)


@pytest.mark.parametrize("name, idle_site", [("fstab", []), ("fstab-control", ["control"])],
                         indirect=["idle_site"])
def test_the_line_of_the_fstab_example(lab, idle_site, name):
    """The line that administrators copy, with the paths of the test in it."""
    table = lab.new_directory("fstab") / "fstab"
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    point = idle_site.mount.point.resolve()
    for words, ours in (("/nfs/mail", idle_site.mount.store), ("/srv/mail", point),
                        ("/var/cache/courierfs", idle_site.mount.state)):
        assert words in text
        text = text.replace(words, str(ours))
    table.write_text(text, encoding="utf-8")
    run_mount(lab, "-T", table, point)
    idle_site.agree(BOB)
    unmount(idle_site)


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
