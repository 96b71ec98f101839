"""Courier's userdb, made by Courier's own tools, as Dovecot's passwd-file: who may log in to what."""

import subprocess

import pytest

from servers.dovecot import EXAMPLES, Dovecot
from servers.imap import Refused
from servers.lab import BUILD, MAIL_GID, MAIL_UID, TOP
from servers.store import ANN, BOB, EVE, letter

pytestmark = pytest.mark.once

LIBRARIES = BUILD / "courier/usr/lib/x86_64-linux-gnu"
TOOLS = BUILD / "courier/usr/sbin"
# A wrong password makes Dovecot wait, the more so the more there are.
NO_WAITING = """
auth_failure_delay = 0
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
"""
COURIERCTL = BUILD / "courierctl"
GUS, IDA = "gus@example.org", "ida@example.org"


class Userdb:
    """Courier's userdb below a directory: a file, or several in one."""

    def __init__(self, lab, path):
        self.lab = lab
        self.path = path

    def hash(self, password, *kind):
        """What userdbpw makes of a password."""
        done = subprocess.run([TOOLS / "userdbpw", *kind], input=f"{password}\n{password}\n",
                              capture_output=True, text=True, check=True,
                              env={"LD_LIBRARY_PATH": LIBRARIES})
        return done.stdout.strip().splitlines()[-1].rpartition(": ")[2]

    def add(self, name, file=None, **fields):
        """An account by the tool `userdb`."""
        where = self.path / file if file else self.path
        words = [f"{field.replace('_', '-')}={value}" for field, value in fields.items()]
        done = self.lab.run(["perl", TOOLS / "userdb", "-f", where, name, "set", *words])
        assert done.returncode == 0, done.stderr

    def converted(self, *options, status=0):
        """(passwd-file, what was told) of courierctl."""
        done = self.lab.run([COURIERCTL, "userdb", self.path, *options])
        assert done.returncode == status, done.stderr
        return done.stdout.decode(), done.stderr.decode()


@pytest.fixture(name="userdb")
def make_userdb(lab):
    """A userdb as a file."""
    path = lab.new_directory("etc") / "userdb"
    path.touch(mode=0o600)
    return Userdb(lab, path)


def dovecot_with(lab, store, userdb, *options):
    """A Dovecot with the example for userdb and the two files of the services."""
    files = lab.new_directory("users")
    for service in ("imap", "pop3"):
        text, _ = userdb.converted("--service", service, *options)
        (files / f"users.{service}").write_text(text)
        (files / f"users.{service}").chmod(0o644)
    files.chmod(0o755)
    example = (EXAMPLES / "dovecot-2.3-userdb.conf").read_text()
    assert "/etc/dovecot/users" in example
    return Dovecot(lab, store.path,
                   accounts=example.replace("/etc/dovecot", str(files)) + NO_WAITING)


def may(log_in, user, password):
    """Whether a login succeeds."""
    try:
        log_in(user, password).close()
        return True
    except Refused:
        return False


def test_logins(lab, courier, store, userdb):
    """Each service takes the password that Courier's takes, and no other."""
    common = {"uid": MAIL_UID, "gid": MAIL_GID}

    def home(user):
        return str(store.maildir(user).parent)

    for user in (GUS, IDA):
        if not store.maildir(user).exists():
            courier.make_maildir(store.maildir(user))
    userdb.add(ANN, home=home(ANN), systempw=userdb.hash("common", "-md5"), **common)
    userdb.add(BOB, home=home(BOB), mail=str(store.maildir(BOB)), shell="/bin/false",
               systempw=userdb.hash("common"), imappw=userdb.hash("for imap", "-md5"),
               pop3pw=userdb.hash("for pop3", "-md5"), **common)
    userdb.add(EVE, home=home(EVE), systempw=userdb.hash("common", "-md5"),
               options="disablepop3=1,disableimap=0", **common)
    userdb.add(GUS, home=home(GUS), hmac_md5pw=userdb.hash("cram", "-hmac-md5"), **common)
    userdb.add(IDA, home=home(IDA), pop3pw=userdb.hash("only pop3", "-md5"), **common)
    made = lab.run(["perl", TOOLS / "makeuserdb", "-f", userdb.path])
    assert b"PERMISSIONS" not in made.stderr
    expected = {ANN: ({"common"}, {"common"}), BOB: ({"for imap"}, {"for pop3"}),
                EVE: ({"common"}, set()), GUS: ({"cram"}, {"cram"}), IDA: (set(), {"only pop3"})}
    with dovecot_with(lab, store, userdb).master() as master:
        for user, (imap, pop3) in expected.items():
            passwords = imap | pop3 | {"common", "*"}
            assert {p for p in passwords if may(master.imap, user, f'"{p}"')} == imap, user
            assert {p for p in passwords if may(master.pop3, user, p)} == pop3, user
        assert not may(master.imap, "nobody@example.org", "common")


def test_quota_mail_and_groups(lab, store, userdb):
    """What else the line says is what Dovecot knows of the user."""
    userdb.add(ANN, home="/nowhere", mail=str(store.maildir(ANN)), uid=MAIL_UID, gid=MAIL_GID,
               quota="2000000S,7C", options="group=editors,sharedgroup=eu,group=all",
               systempw=userdb.hash("common", "-md5"), fullname="Ann A")
    text, told = userdb.converted()
    assert told.splitlines() == [
        f"courierctl: {userdb.path}:1: sharedgroup: an option without an equivalent"]
    assert "userdb_quota_rule=*:storage=2000000B:messages=7" in text
    dovecot = dovecot_with(lab, store, userdb)
    with dovecot.config.open("a") as config:
        config.write("mail_plugins = quota\nprotocol imap {\n mail_plugins = quota imap_quota\n}\n"
                     "plugin {\n quota = maildir:User quota\n}\n")
    with dovecot.master() as master, master.imap(ANN, "common") as imap:
        imap.select("INBOX")
        assert imap.uids()
        _, limits = imap.command("GETQUOTAROOT INBOX").named("QUOTA")[0].values
        assert [limits[0], limits[2], limits[3], limits[5]] == [
            b"STORAGE", b"1954", b"MESSAGE", b"7"]
        with pytest.raises(Refused, match="Quota exceeded"):
            for number in range(8):
                imap.append("INBOX", letter(number))
        seen = lab.run(["doveadm", "-c", dovecot.config, "user", ANN]).stdout.decode()
    fields = dict(line.split("\t", 1) for line in seen.splitlines()[1:] if "\t" in line)
    assert fields["acl_groups"].strip() == "editors,all"
    assert fields["home"].strip() == "/nowhere"
    assert str(store.maildir(ANN)) in fields["mail"]


def test_a_directory_and_what_cannot_be_said(lab, userdb):
    """All files but hidden ones count; each line left out is named, without a password."""
    userdb.path.unlink()
    userdb.path.mkdir(mode=0o700)
    secret = userdb.hash("common", "-md5")
    for file, user in (("first", "a@x"), ("second", "b@x")):
        userdb.add(user, file, uid=5, gid=5, home=f"/m/{user}", systempw=secret)
    (userdb.path / ".lock.first").write_text("c@x\tuid=5|gid=5|home=/m/c\n")
    with open(userdb.path / "second", "a", encoding="utf-8") as file:
        file.write(f"no tab {secret}\n"
                   "# comment\n"
                   f"d@x\tuid=0|gid=5|home=/m/d|systempw={secret}\n"
                   f"e@x\tuid=5|gid=5|home=/m/e|systempw={secret}|imappw=x\n"
                   f"f@x\tuid=5|gid=5|home=/m:0:0|systempw={secret}\n"
                   f"b@x\tuid=6|gid=5|home=/m/b|systempw={secret}\n"
                   f"g@x\tuid=5|gid=5|home=/m/g|esmtppw={secret}|hmac-sha1pw=00\n")
    text, told = userdb.converted(status=1)
    assert [line.split(":")[0] for line in text.splitlines()] == ["a@x", "b@x", "g@x"]
    assert secret not in told
    for number, words in ((2, "no TAB"), (4, "uid or gid"), (5, "--service"), (6, "home"),
                          (7, "once more"), (8, "hmac-sha1pw")):
        assert any(f"{userdb.path}/second:{number}:" in line and words in line
                   for line in told.splitlines()), (number, told)


def test_shadow_and_moved_directories(lab, userdb):
    """Hashes from a second file; directories that Dovecot knows by another name."""
    secret = userdb.hash("common", "-md5")
    userdb.add("a@x", uid=5, gid=5, home="/var/mail/x/a", mail="/var/mail/x/a/./Mail")
    shadow = userdb.path.with_name("userdbshadow")
    shadow.write_text(f"a@x\tsystempw={secret}\n")
    text, told = userdb.converted("--shadow", shadow, "--replace", "/var/mail/=/srv/mail",
                                  "--mail-suffix", ":UTF-8:INDEX=/var/lib/dovecot/index/%d/%n")
    assert told == ""
    assert text == (f"a@x:{{CRYPT}}{secret}:5:5::/srv/mail/x/a::userdb_mail=maildir:/srv/mail/x/a/"
                    "Mail:UTF-8:INDEX=/var/lib/dovecot/index/%d/%n\n")


def test_usage(lab):
    """Wrong words are status 1 and a line that says how."""
    for words in ([], ["--service", "smtp", "f"], ["--replace", "x", "f"], ["f", "g"]):
        done = lab.run([TOP / "build/courierctl", "userdb", *words])
        assert done.returncode == 1 and b"usage: courierctl userdb FILE" in done.stderr
    done = lab.run([COURIERCTL, "userdb", "/nonexistent"])
    assert done.returncode == 1
    assert done.stderr == b"courierctl: cannot read '/nonexistent': No such file or directory\n"
