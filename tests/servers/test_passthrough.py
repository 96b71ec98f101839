"""What is no control file passes through as on any file system, with the caller's rights."""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import stat
import subprocess

import pytest

from servers.lab import MAIL_GID, MAIL_UID, acting_as, as_mail_user
from servers.mount import Mount
from servers.store import BOB

OTHER = 5001
SUPPLEMENTARY = 5050
NOREPLACE, EXCHANGE = 1, 2
MANY_FILES = 200_000
MANY_MESSAGES = 100_000
FEW_DESCRIPTORS = 200


def rename_with_flags(source, target, flags):
    """renameat2; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, os.fsencode(source), -100, os.fsencode(target), flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))


@pytest.fixture(name="tree")
def make_tree(lab):
    """An empty store below a mount: (directory of the mail user on the mount, in the store)."""
    store = lab.new_directory("store", owned_by_mail_user=True)
    with Mount(lab, store) as mount:
        with as_mail_user():
            (mount.point / "home").mkdir(mode=0o700)
        yield Tree(mount, mount.point / "home", store / "home")
    assert mount.unexpected_errors() == []


class Tree:
    """The mail user's directory, seen through the mount and below it."""

    def __init__(self, mount, above, below):
        self.mount = mount
        self.above = above
        self.below = below

    def write(self, name, data=b"data"):
        """A file made through the mount; its path there."""
        path = self.above / name
        path.write_bytes(data)
        return path


@contextlib.contextmanager
def refused(code):
    """Expects that the block fails with this errno."""
    with pytest.raises(OSError) as caught:
        yield
    assert errno.errorcode[caught.value.errno] == errno.errorcode[code]


def test_files(tree):
    """create, write, read, append, truncate, unlink."""
    with as_mail_user():
        path = tree.write("a", b"one\n")
        with open(path, "ab") as file:
            file.write(b"two\n")
        assert path.read_bytes() == b"one\ntwo\n"
        os.truncate(path, 2)
        assert path.read_bytes() == b"on"
        os.truncate(path, 5)
        assert path.read_bytes() == b"on\0\0\0"
        with refused(errno.EEXIST):
            os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        path.write_bytes(b"again")
        assert (tree.below / "a").read_bytes() == b"again"
        path.unlink()
        with refused(errno.ENOENT):
            os.stat(path)
    assert not (tree.below / "a").exists()


def test_a_file_that_is_open_outlives_its_name(tree):
    """unlink and rename do not disturb who has the file open."""
    with as_mail_user():
        path = tree.write("a", b"content")
        with open(path, "r+b") as file:
            path.unlink()
            assert file.read() == b"content"
            file.write(b" and more")
            file.flush()
            os.fsync(file.fileno())
            assert os.fstat(file.fileno()).st_size == 16
        path = tree.write("b", b"old")
        with open(path, "rb") as file:
            tree.write("c", b"newer").rename(path)
            assert file.read() == b"old"
        assert path.read_bytes() == b"newer"
    assert os.listdir(tree.below) == ["b"]


def test_rename(tree):
    """Plain, over a file, without replacing, exchanging, and what must be refused."""
    with as_mail_user():
        first, second = tree.write("a", b"1"), tree.write("b", b"2")
        with refused(errno.EEXIST):
            rename_with_flags(first, second, NOREPLACE)
        rename_with_flags(first, second, EXCHANGE)
        assert (first.read_bytes(), second.read_bytes()) == (b"2", b"1")
        rename_with_flags(first, tree.above / "c", NOREPLACE)
        with refused(errno.ENOENT):
            first.rename(second)
        (tree.above / "d").mkdir()
        (tree.above / "d" / "x").mkdir()
        (tree.above / "e").mkdir()
        with refused(errno.ENOTEMPTY):
            (tree.above / "e").rename(tree.above / "d")
        (tree.above / "d").rename(tree.above / "e")
        assert os.listdir(tree.above / "e") == ["x"]
    assert sorted(os.listdir(tree.below)) == ["b", "c", "e"]


def test_links(tree):
    """Hard links share an inode and count; symlinks keep their text."""
    with as_mail_user():
        path = tree.write("a")
        os.link(path, tree.above / "b")
        one, two = os.stat(path), os.stat(tree.above / "b")
        assert one.st_ino == two.st_ino and one.st_nlink == two.st_nlink == 2
        path.unlink()
        assert os.stat(tree.above / "b").st_nlink == 1
        os.symlink("b", tree.above / "s")
        assert os.readlink(tree.above / "s") == "b"
        assert (tree.above / "s").read_bytes() == b"data"
        with refused(errno.EEXIST):
            os.link(tree.above / "b", tree.above / "s")
        os.symlink("/no/such\u00e4 place", tree.above / "dangling")
        assert os.readlink(tree.above / "dangling") == "/no/such\u00e4 place"


def test_directories(tree):
    """mkdir, rmdir and their refusals; unlink of a directory is EISDIR."""
    with as_mail_user():
        (tree.above / "d").mkdir()
        tree.write("d/f")
        with refused(errno.ENOTEMPTY):
            os.rmdir(tree.above / "d")
        with refused(errno.EISDIR):
            os.unlink(tree.above / "d")
        with refused(errno.ENOTDIR):
            os.rmdir(tree.above / "d" / "f")
        with refused(errno.EEXIST):
            os.mkdir(tree.above / "d")
        with refused(errno.ENAMETOOLONG):
            tree.write("n" * 256)
        names = {f"d/{number}" for number in range(500)} | {"d/f"}
        for name in names:
            tree.write(name)
        assert {f"d/{name}" for name in os.listdir(tree.above / "d")} == names
        kinds = {entry.name: entry.is_file() for entry in os.scandir(tree.above / "d")}
        assert all(kinds.values())


def test_listing_while_unlinking(tree):
    """A program that deletes what it lists gets through all of it."""
    with as_mail_user():
        for number in range(3000):
            tree.write(f"f{number}", b"")
        with os.scandir(tree.above) as entries:
            for entry in entries:
                os.unlink(entry.path)
        assert os.listdir(tree.above) == []
    assert os.listdir(tree.below) == []


def test_attributes(tree):
    """chmod, chown to oneself, utimens with nanoseconds, and ctime that moves."""
    with as_mail_user():
        path = tree.write("a")
        os.chmod(path, 0o640)
        os.utime(path, ns=(1_600_000_000_123_456_789, 1_500_000_000_987_654_321))
        os.chown(path, -1, MAIL_GID)
        above, below = os.stat(path), os.stat(tree.below / "a")
        for field in ("st_mode", "st_uid", "st_gid", "st_size", "st_ino", "st_nlink",
                      "st_atime_ns", "st_mtime_ns", "st_ctime_ns", "st_blocks"):
            assert getattr(above, field) == getattr(below, field), field
        assert above.st_mtime_ns == 1_500_000_000_987_654_321
        with open(path, "rb") as file:
            os.fchmod(file.fileno(), 0o600)
            os.utime(file.fileno(), (1, 2))
            assert os.fstat(file.fileno()).st_mtime == 2
        assert stat.S_IMODE(os.stat(tree.below / "a").st_mode) == 0o600


def test_extended_attributes(tree):
    """Set, get, list, remove: what the store has, the mount has."""
    with as_mail_user():
        path, below = tree.write("a"), tree.below / "a"
        try:
            os.setxattr(below, "user.probe", b"1")
        except OSError as error:
            with refused(error.errno):
                os.setxattr(path, "user.word", b"value")
            return
        os.setxattr(path, "user.word", b"value")
        assert os.getxattr(below, "user.word") == b"value"
        assert set(os.listxattr(path)) == {"user.probe", "user.word"}
        os.removexattr(path, "user.word")
        with refused(errno.ENODATA):
            os.getxattr(path, "user.word")
        with refused(errno.EEXIST):
            os.setxattr(path, "user.probe", b"2", os.XATTR_CREATE)


def test_space(tree):
    """fallocate, statfs, lseek and a sparse file."""
    with as_mail_user():
        path = tree.write("a", b"")
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, 100_000)
            assert os.fstat(file.fileno()).st_size == 100_000
            file.seek(0, os.SEEK_END)
            file.write(b"end")
            file.flush()
            assert os.fstat(file.fileno()).st_size == 100_003
        above, below = os.statvfs(tree.above), os.statvfs(tree.below)
        assert (above.f_blocks, above.f_bsize, above.f_namemax) == \
            (below.f_blocks, below.f_bsize, below.f_namemax)


def test_mmap(tree):
    """Shared mappings can be written and read, as Dovecot's indexes need it."""
    with as_mail_user():
        path = tree.write("a", b"x" * 8192)
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            mapped[4096:4100] = b"MMAP"
            mapped.flush()
        assert (tree.below / "a").read_bytes()[4096:4100] == b"MMAP"


@pytest.mark.parametrize("kind", ["fcntl", "flock"])
def test_locks_between_processes(tree, kind):
    """A lock that one process holds is refused to another until it is released."""
    take = {"fcntl": fcntl.lockf, "flock": fcntl.flock}[kind]

    def in_another_process(path):
        child = os.fork()
        if child == 0:
            with open(path, "r+b") as file:
                try:
                    take(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os._exit(0)
                except BlockingIOError:
                    os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    with as_mail_user():
        path = tree.write("a")
        with open(path, "r+b") as file:
            take(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            assert in_another_process(path) == 1
            take(file, fcntl.LOCK_UN)
            assert in_another_process(path) == 0


def test_owners(tree):
    """Whatever is made belongs to who made it, as in the store itself."""
    with as_mail_user():
        tree.write("file")
        (tree.above / "directory").mkdir()
        os.symlink("x", tree.above / "symlink")
        os.mkfifo(tree.above / "fifo")
    for name in ("file", "directory", "symlink", "fifo"):
        made = os.lstat(tree.below / name)
        assert (made.st_uid, made.st_gid) == (MAIL_UID, MAIL_GID), name
    os.chmod(tree.below, 0o777)
    with acting_as(OTHER, OTHER):
        tree.write("other")
    assert os.stat(tree.below / "other").st_uid == OTHER
    with as_mail_user():
        with refused(errno.EPERM):
            os.chown(tree.above / "file", OTHER, -1)
        previous = os.umask(0o077)
        tree.write("private")
        os.umask(previous)
    assert stat.S_IMODE(os.stat(tree.below / "private").st_mode) == 0o600


def test_rights_of_others(tree):
    """A 0700 directory is closed to every other user; the daemon's own rights do not leak."""
    with as_mail_user():
        path = tree.write("a")
    with acting_as(OTHER, OTHER):
        for call in (lambda: os.listdir(tree.above), path.read_bytes, lambda: os.stat(path),
                     lambda: tree.write("b"), path.unlink, lambda: os.chmod(path, 0o777)):
            with refused(errno.EACCES):
                call()
    os.chmod(tree.below, 0o755)
    with acting_as(OTHER, OTHER):
        assert path.read_bytes() == b"data"
        with refused(errno.EACCES):
            path.unlink()
        with refused(errno.EACCES):
            path.write_bytes(b"x")
        with refused(errno.EPERM):
            os.chmod(path, 0o777)


def test_supplementary_groups(tree):
    """A group that the caller has only as a supplementary one counts."""
    shared = tree.below / "shared"
    shared.mkdir(mode=0o770)
    os.chown(shared, MAIL_UID, SUPPLEMENTARY)
    os.chmod(shared, 0o2770)
    os.chmod(tree.below, 0o711)
    with acting_as(OTHER, OTHER):
        with refused(errno.EACCES):
            tree.write("shared/a")
    with acting_as(OTHER, OTHER, groups=[6000, SUPPLEMENTARY]):
        tree.write("shared/a")
    made = os.stat(shared / "a")
    assert (made.st_uid, made.st_gid) == (OTHER, SUPPLEMENTARY)


def test_hidden_names(tree):
    """What an NFS client leaves behind is not listed."""
    with as_mail_user():
        tree.write("a")
        (tree.below / ".nfs000000000000abcd00000001").write_bytes(b"x")
        assert os.listdir(tree.above) == ["a"]


def test_inodes_are_stable(tree):
    """An inode number stays through renames, a full kernel cache drop and a remount."""
    with as_mail_user():
        path = tree.write("a")
        number = os.stat(path).st_ino
        path.rename(tree.above / "b")
        assert os.stat(tree.above / "b").st_ino == number
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as control:
        control.write("2")
    with as_mail_user():
        assert os.stat(tree.above / "b").st_ino == number
    tree.mount.remount()
    with as_mail_user():
        assert os.stat(tree.above / "b").st_ino == number


def test_changes_below_are_seen(tree):
    """A file that another program made, changed or removed in the store."""
    with as_mail_user():
        (tree.above / "cur").mkdir()
        assert not (tree.above / "cur" / "m").exists()
        (tree.below / "cur" / "m").write_bytes(b"1")
        assert (tree.above / "cur" / "m").read_bytes() == b"1"
        (tree.below / "cur" / "m").rename(tree.below / "cur" / "n")
        assert os.listdir(tree.above / "cur") == ["n"]
        assert (tree.above / "cur" / "n").read_bytes() == b"1"


def descriptors_of(process):
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def test_very_many_files(tree):
    """find over 200,000 files, with a handful of descriptors."""
    make = ("import os,sys\n"
            "for d in range(100):\n"
            " os.makedirs(f'{sys.argv[1]}/{d:03}')\n"
            f" for f in range({MANY_FILES // 100}):\n"
            "  os.close(os.open(f'{sys.argv[1]}/{d:03}/f{f}', os.O_CREAT | os.O_WRONLY))\n")
    subprocess.run(["/usr/bin/python3", "-c", make, tree.below], check=True, user=MAIL_UID,
                   group=MAIL_GID, extra_groups=[], timeout=120)
    found = subprocess.run(["find", tree.above, "-type", "f", "-size", "0"], user=MAIL_UID,
                           group=MAIL_GID, extra_groups=[], timeout=180, check=True,
                           capture_output=True)
    assert found.stdout.count(b"\n") == MANY_FILES
    assert descriptors_of(tree.mount.process) < FEW_DESCRIPTORS


def test_a_very_large_mailbox(site):
    """A folder of 100,000 messages: every one has its UID, and opening it is cheap."""
    folder = site.store.folder(BOB, "INBOX.Empty")
    make = ("import os,sys\n"
            "os.chdir(sys.argv[1])\n"
            f"for n in range({MANY_MESSAGES}):\n"
            " with open(f'cur/{1600000000+n}.M{n}P1.mx:2,S', 'w') as f: f.write('S: x\\n\\n')\n")
    subprocess.run(["/usr/bin/python3", "-c", make, folder], check=True, user=MAIL_UID,
                   group=MAIL_GID, extra_groups=[], timeout=120)
    with site.dovecot.imap(BOB) as imap:
        reply = imap.select("INBOX.Empty")
        assert reply.named("EXISTS")[0].number == MANY_MESSAGES
        assert imap.uids() == list(range(1, MANY_MESSAGES + 1))
        told = imap.command("UID FETCH 70000 (BODY.PEEK[] INTERNALDATE)").fetched()
        assert told[0]["BODY[]"] == b"S: x\r\n\r\n"
        imap.append("INBOX.Empty", b"S: last\n\n", "\\Seen")
        assert descriptors_of(site.mount.process) < FEW_DESCRIPTORS
    with site.courier.imap(site.store.maildir(BOB)) as imap:
        imap.select("INBOX.Empty")
        assert imap.uids() == list(range(1, MANY_MESSAGES + 2))
