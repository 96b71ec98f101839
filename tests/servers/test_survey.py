"""`courierctl survey`: its figures are right, it finds everything, and it changes nothing."""

import contextlib
import errno
import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import xml.etree.ElementTree
from html.parser import HTMLParser

import pytest

from servers.conversion import COURIERCTL, Ctl
from servers.courier_files import SIZE_LIST, SUBSCRIPTIONS, SizeList, UidDatabase, edit
from servers.fault_place import mount_over, unmount
from servers.lab import MAIL_UID, STORES, TOP, wait_until
from servers.site import ask_courier
from servers.store import ANN, BOB, CEM, USERS
from servers.survey_cases import CASES, ELSEWHERE, add_file, add_mailbox, message

pytestmark = [pytest.mark.once, pytest.mark.skipif(bool(STORES), reason="what root finds on a local disk")]

TITLES = TOP / "fs" / "ctl" / "survey_findings.c"


class Survey:
    """courierctl survey of a store."""

    def __init__(self, lab, path):
        self._lab = lab
        self.path = path

    def run(self, *words, prefix=(), status=None, **options):
        """(standard output, standard error) as bytes."""
        done = self._lab.run([*prefix, COURIERCTL, "survey", self.path, *words], cwd="/", **options)
        if status is not None:
            assert done.returncode == status, done.stdout.decode() + done.stderr.decode()
        return done.stdout, done.stderr

    def json(self, *words, **options):
        """The JSON report."""
        return json.loads(self.run("--json", *words, **options)[0])

    def text(self, *words, **options):
        """The report for a terminal."""
        return self.run(*words, **options)[0].decode()


@pytest.fixture(name="sound")
def make_sound(store):
    """A store without anything to find: one of Cem's messages has a wrong size in its name."""
    for path in (store.maildir(CEM) / "cur").glob("*,S=5*"):
        path.unlink()
    return store


@pytest.fixture(name="survey")
def make_survey(lab, sound):
    """A survey of that store."""
    return Survey(lab, sound.path)


def of_kind(report, kind):
    """The finding of that kind, or None."""
    return next((found for found in report["findings"] if found["kind"] == kind), None)


# ---- what it finds ----

def test_a_sound_store(survey):
    """Nothing to say, status 0."""
    report = survey.json(status=0)
    assert report["findings"] == [] and report["complete"] and not report["blocks"]
    assert survey.text(status=0).endswith("\nNothing blocks a migration.\n")


@pytest.mark.parametrize("case", CASES, ids=[case.kind for case in CASES])
def test_finds(survey, sound, case):
    """Each thing that can be wrong is found where it is, named and counted; only some block."""
    case.change(sound)
    options = [word.format(store=sound.path) for word in case.options]
    report = survey.json(*options)
    found = of_kind(report, case.kind)
    assert found, report["findings"]
    assert found["count"] == case.count, found
    assert report["blocks"] == any(one["blocks"] for one in report["findings"])
    text = survey.text(*options, status=1 if report["blocks"] else 0)
    line = re.search(rf"\[{case.kind}\]\n((?:    .*\n)*)", text)
    assert line, text
    missing = [word for word in case.words if word not in line[1]]
    assert not missing, f"{missing} not in {line[1]}"
    assert text.endswith("migration.\n")


def test_every_kind_is_tried():
    """No kind of finding is without a test."""
    kinds = re.findall(r'"([a-z0-9-]+)",\s*(?:true|false),', TITLES.read_text(encoding="utf-8"))
    assert len(kinds) > 40
    assert set(kinds) == {case.kind for case in CASES} | ELSEWHERE


def test_only_these_block():
    """What an administrator can live with does not stop him."""
    blocking = set(re.findall(r'"([a-z0-9-]+)",\s*true,', TITLES.read_text(encoding="utf-8")))
    assert blocking == {
        "unreadable", "uiddb-refused", "sizelist-refused", "control-no-file", "keyword-loop", "wrong-w",
        "folder-invalid", "symlink-away", "owner-root", "lock-future", "clock", "locks-off"}


CLOCK = """
#include <time.h>
#include <sys/syscall.h>
#include <unistd.h>
time_t time(time_t *t)
{
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    if (t) *t = now.tv_sec - BEHIND;
    return now.tv_sec - BEHIND;
}
"""


@pytest.mark.parametrize("behind, kind", [(40, "clock"), (10, "clock-slight")])
def test_clocks_differ(lab, survey, behind, kind):
    """The file server's clock is ahead of ours."""
    source = lab.new_directory("clock") / "clock.c"
    source.write_text(CLOCK)
    library = source.with_suffix(".so")
    built = lab.run(["gcc", "-shared", "-fPIC", f"-DBEHIND={behind}", source, "-o", library])
    assert built.returncode == 0, built.stderr
    message(survey.path / "example.org" / "ann" / "Maildir").parent.joinpath("now").touch()
    report = survey.json(env={"LD_PRELOAD": str(library)})
    assert of_kind(report, kind)["count"] == 1
    assert behind - 3 <= report["figures"]["clock_ahead_seconds"] <= behind
    assert report["blocks"] == (kind == "clock")


WITHOUT_ROOTS_EYES = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def test_what_root_may_not_read(survey, sound):
    """On NFS root is nobody: mailboxes are read as their owners; what these cannot read is named."""
    everything = survey.json(status=0)["figures"]
    seen = survey.json(prefix=WITHOUT_ROOTS_EYES, status=0)["figures"]
    assert all(seen[name] == everything[name] for name in ("users", "mailboxes", "messages", "bytes"))
    closed = sound.maildir(BOB) / ".Work"
    closed.chmod(0)
    (sound.maildir(ANN) / "courierimapuiddb").chmod(0)
    report = survey.json(prefix=WITHOUT_ROOTS_EYES, status=1)
    paths = {example["path"]: example["why"] for example in of_kind(report, "unreadable")["examples"]}
    assert paths == {"example.org/bob/Maildir/.Work": "Permission denied",
                     "example.org/ann/Maildir/courierimapuiddb": "Permission denied"}
    assert report["figures"]["mailboxes"] == everything["mailboxes"] - 1


def test_a_list_of_all(lab, survey, sound):
    """Examples are few; a list has every one, one a line."""
    for number in range(150):
        add_file(sound.maildir(ANN) / "cur" / f"1700000000.{number},S=9:2,", b"x")
        add_mailbox(sound.maildir(BOB) / f".{number}&APw-\x1b[31m")
    path = lab.new_directory("list") / "list"
    report = survey.json("--list", path, status=0)
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    assert all(len(line) == 5 for line in lines)
    kinds = [line[0] for line in lines]
    assert kinds.count("wrong-s") == of_kind(report, "wrong-s")["count"] == 150
    assert kinds.count("folder-utf7") == of_kind(report, "folder-utf7")["count"] == 150
    assert len(of_kind(report, "wrong-s")["examples"]) == 1, "one for each mailbox"
    assert len(of_kind(report, "folder-utf7")["examples"]) == 100
    assert "\x1b" not in path.read_text()


# ---- its figures ----

def mailbox_paths(store):
    """Every mailbox in the store, found without us."""
    return [directory for directory, names, _ in os.walk(store.path) if {"cur", "new"} <= set(names)]


def test_figures(survey, sound, courier):
    """They are what a count in Python and Courier itself say."""
    report = survey.json("--top", "5", status=0)
    figures = report["figures"]
    mailboxes = mailbox_paths(sound)
    messages = {box: [entry for part in ("cur", "new") for entry in os.scandir(f"{box}/{part}")
                      if entry.is_file() and not entry.name.startswith(".")] for box in mailboxes}
    databases = [UidDatabase.read(sound.path / box) for box in mailboxes]
    maildirs = [sound.maildir(user) for user in USERS]
    assert figures["users"] == len(USERS)
    assert figures["mailboxes"] == len(mailboxes)
    assert figures["messages"] == sum(map(len, messages.values()))
    assert figures["messages_new"] == sum(len(os.listdir(f"{box}/new")) for box in mailboxes)
    assert figures["bytes"] == sum(entry.stat().st_size for found in messages.values()
                                   for entry in found)
    assert figures["uid_databases"] == sum(database is not None for database in databases)
    assert figures["uid_lines"] == sum(len(d.uids) for d in databases if d)
    assert figures["pop3_users"] == sum((maildir / SIZE_LIST).exists() for maildir in maildirs)
    assert figures["pop3_entries"] == sum(len(SizeList.read(maildir).uidls) for maildir in maildirs)
    assert figures["subscriptions"] == sum(
        len((maildir / SUBSCRIPTIONS).read_bytes().splitlines()) for maildir in maildirs
        if (maildir / SUBSCRIPTIONS).exists())
    assert figures["acl_files"] == sum(os.path.exists(f"{box}/courierimapacl") for box in mailboxes)
    largest = sorted(((len(found), os.path.relpath(box, sound.path))
                      for box, found in messages.items()), reverse=True)[:5]
    assert [one["messages"] for one in report["largest_folders"]] == [size for size, _ in largest]
    for histogram, total in (("mailboxes_by_messages", figures["mailboxes"]),
                             ("users_by_bytes", figures["users"]),
                             ("users_by_server", figures["users"]),
                             ("messages_by_age", figures["messages"]),
                             ("mailboxes_by_keywords", figures["mailboxes"]),
                             ("pop3_lists_by_version", figures["pop3_users"]),
                             ("pop3_users_by_age", figures["pop3_users"])):
        assert sum(report["histograms"][histogram].values()) == total, histogram
    names = [os.path.basename(box) for box in mailboxes if os.path.basename(box).startswith(".")]
    assert report["histograms"]["folders_by_encoding"] == {
        "ASCII": sum(name.isascii() and "&" not in name for name in names),
        "UTF-8": sum(not name.isascii() or "&" in name for name in names),
        "modified UTF-7": 0, "invalid": 0}
    check_keywords(figures, sound, courier)


def check_keywords(figures, store, courier):
    """Courier is asked last, for it changes the store."""
    folders = [folder for user in USERS for folder in ask_courier(courier, store, user).folders.values()]
    keywords = [[{flag for flag in message.flags if not flag.startswith("\\")}
                 for message in folder.messages.values()] for folder in folders]
    assert figures["messages_with_keywords"] == sum(bool(one) for found in keywords for one in found)
    assert figures["mailboxes_with_keywords"] == sum(any(found) for found in keywords)
    assert figures["most_keywords"] == max(len(set().union(*found)) for found in keywords)


def without_times(report):
    """What must not depend on how it was surveyed, nor on when: what is told by the clock."""
    timed = ("_ns", "clock_ahead_seconds")
    figures = {name: value for name, value in report["figures"].items() if not name.endswith(timed)}
    findings = json.loads(re.sub(r"\b\d+ seconds (old|ahead|in the future)", r"\1",
                                 json.dumps(report["findings"])))
    return figures, report["histograms"], report["largest_folders"], findings


@pytest.mark.parametrize("jobs", ["1", "3", "32"])
def test_jobs_make_no_difference(survey, sound, jobs):
    """As many workers as one likes."""
    sound.maildir(ANN).joinpath("courierimapuiddb").write_text("broken\n")
    assert without_times(survey.json("--jobs", jobs)) == without_times(survey.json())


def test_quick(survey, sound):
    """Messages with a size in their name are not looked at, and the sums are the same."""
    report = survey.json("--quick", status=0)
    whole = survey.json(status=0)
    for name in ("users", "mailboxes", "messages", "bytes"):
        assert report["figures"][name] == whole["figures"][name]
    named = sum(",S=" in name for box in mailbox_paths(sound) for part in ("cur", "new")
                for name in os.listdir(f"{box}/{part}"))
    assert report["figures"]["messages_not_looked_at"] == named > 50
    assert report["figures"]["looks"] == report["figures"]["messages"] - named


def test_a_store_that_is_a_maildir(lab, sound):
    """Of one user, or with others below it."""
    report = Survey(lab, sound.maildir(ANN)).json(status=0)
    assert report["figures"]["users"] == 1
    assert report["figures"]["mailboxes"] == 13
    for part in ("cur", "new", "tmp"):
        (sound.path / part).mkdir()
    os.chown(sound.path, MAIL_UID, MAIL_UID)
    assert Survey(lab, sound.path).json()["figures"]["users"] == len(USERS) + 1


def test_a_converted_store(lab, survey, sound):
    """Counted as converted, and nothing in it is damaged."""
    before = survey.json(status=0)["figures"]
    Ctl(lab, sound).run("convert")
    report = survey.json(status=0)
    assert report["findings"] == []
    assert report["figures"]["converted"] == report["figures"]["mailboxes"] == before["mailboxes"]
    assert report["figures"]["files_to_write"] == 0


# ---- it reads only ----

def everything(path):
    """All that a store is: contents, owners, modes and times, but for atimes."""
    seen = {}
    for directory, names, files in os.walk(os.fsencode(path)):
        for name in [b".", *names, *files]:
            entry = os.path.join(directory, name)
            status = os.lstat(entry)
            content = b""
            if os.path.isfile(entry):
                with open(entry, "rb") as file:
                    content = hashlib.sha256(file.read()).digest()
            seen[entry] = (status.st_ino, status.st_mode, status.st_nlink, status.st_uid,
                           status.st_gid, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
                           content)
    return seen


def test_changes_nothing(lab, survey, sound):
    """Byte for byte, time for time; also when it finds much, and where it could not write."""
    for case in CASES:
        with contextlib.suppress(OSError, ValueError):  # one damage can leave nothing for another
            case.change(sound)
    before = everything(sound.path)
    page = lab.new_directory("page") / "page.html"
    survey.run("--read-messages", "--html", page, status=1)
    assert everything(sound.path) == before
    mount_over(lab, sound.path, "--bind", str(sound.path))
    mount_over(lab, sound.path, "-o", "remount,bind,ro")
    first = survey.json(status=1)
    unmount(lab, sound.path)
    assert without_times(first) == without_times(survey.json(status=1))
    assert everything(sound.path) == before


def test_no_report_in_the_store(lab, survey, sound):
    """A page that would be written into the store is refused, whatever the path is."""
    before = everything(sound.path)
    link = lab.new_directory("link") / "link"
    link.symlink_to(sound.path)
    for path in (sound.path / "page.html", sound.maildir(ANN) / "page.html", link / "page.html"):
        for option in ("--html", "--list"):
            _, errors = survey.run(option, path, status=1)
            assert b"it would be in the store" in errors and errors.count(b"\n") == 1
    assert everything(sound.path) == before


# ---- the page ----

class Page(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.references, self.text = set(), [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href", "action", "data", "style"):
                self.references.append((name, value))

    def handle_data(self, data):
        self.text += data


HOSTILE = ".<script>alert(\"1\")</scr\x1b]0;x\x07\u202e&'"


def test_the_page(lab, survey, sound):
    """One file that needs nothing else, whatever the names in the store are."""
    hostile = sound.maildir(ANN) / HOSTILE.replace("/", "")
    add_mailbox(hostile)
    add_file(hostile / "cur" / "1700000000.<img src=x>,S=9:2,", b"x")
    for number in range(20):
        add_file(hostile / "cur" / f"1700000000.{number}:2,", b"x")
    add_file(hostile / "courierimapuiddb", b"<b onclick=\"x\">\xff\n")
    path = lab.new_directory("page") / "page.html"
    text, _ = survey.run("--html", path, status=1)
    page = path.read_text(encoding="utf-8")
    xml.etree.ElementTree.fromstring(page)
    seen = Page(page)
    assert not seen.tags & {"script", "img", "b onclick", "link", "iframe", "object", "base"}
    assert "http" not in page.replace("http-equiv", "")
    assert "url(" not in page and "@import" not in page
    assert all(name == "style" and re.fullmatch(r"width:[0-9.]+%", value) or value.startswith("#")
               for name, value in seen.references), seen.references
    assert "<script>alert(\"1\")" in seen.text and "<img src=x>" in seen.text
    assert seen.text.count("\\xff") >= 1 and "\\x1b]0;x\\x07" in seen.text
    assert {"svg", "table", "details"} <= seen.tags
    for output in (page, text.decode()):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", output)
    report = survey.json()
    assert any(os.fsencode(one["path"]).endswith(os.fsencode(HOSTILE.replace("/", "")))
               for one in report["largest_folders"]), "the bytes of a name come back"


def test_the_page_of_a_sound_store(lab, survey):
    """It says so."""
    path = lab.new_directory("page") / "page.html"
    survey.run("--html", path, status=0)
    assert "Nothing blocks a migration" in Page(path.read_text(encoding="utf-8")).text


# ---- the command ----

SLOWLY = ["strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=getdents64",
          "-e", "inject=getdents64:delay_enter=100000"]


def read_terminal(terminal, seen):
    """Appends what comes; False at the end."""
    try:
        data = os.read(terminal, 4096)
    except OSError as error:
        assert error.errno == errno.EIO
        return False
    seen.extend(data)
    return bool(data)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_progress_and_stopping(lab, survey, number):
    """On a terminal it shows where it is; stopped, it reports what it saw, and that it is not all."""
    terminal, theirs = pty.openpty()
    process = lab.spawn([*SLOWLY, COURIERCTL, "survey", survey.path, "--jobs", "1", "--json"],
                        stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    seen = bytearray()
    while b" mailboxes/s" not in seen:
        assert read_terminal(terminal, seen), seen
    assert re.search(rb"\r[0-9,]+ mailboxes, [0-9,]+ messages, [0-9,]+ mailboxes/s", seen), seen
    process.send_signal(number)
    report = json.loads(process.stdout.read())
    process.stdout.close()
    while read_terminal(terminal, seen):
        pass
    os.close(terminal)
    assert lab.end(process) == 1
    assert b"courierctl: stopping" in seen
    assert not report["complete"] and report["blocks"]
    assert report["figures"]["mailboxes"] < 30


@pytest.mark.parametrize("words", [
    [], ["--jobs", "0"], ["--jobs", "x"], ["--jobs", "257"], ["--top", "-1"], ["--write-time", "0"],
    ["--quick", "--read-messages"], ["--what"], ["more"]])
def test_usage(lab, sound, words):
    """One line for what it does not understand."""
    command = [COURIERCTL, "survey", *([sound.path, *words] if words else [])]
    done = lab.run(command)
    assert done.returncode == 1 and done.stdout == b""
    assert done.stderr.startswith(b"courierctl: usage: courierctl survey STORE"), done.stderr
    assert done.stderr.count(b"\n") == 1


def test_what_cannot_be_opened(lab, sound):
    """The path and the reason, before any work is done."""
    for words in (["/no/such/store"], [sound.path, "--courier-config", "/no/such/file"],
                  [sound.path, "--html", "/no/such/page"], [sound.path, "--list", "/no/such/list"]):
        done = lab.run([COURIERCTL, "survey", *words])
        assert done.returncode == 1 and done.stdout == b""
        assert done.stderr.startswith(b"courierctl: cannot ") and done.stderr.endswith(
            b"No such file or directory\n"), done.stderr


def test_the_packages_configuration(survey, courier):
    """What Debian's package brings is as it must be."""
    path = courier.package_file("etc/courier/imapd")
    report = survey.json("--courier-config", path, status=0)
    assert report["courier_config"] == {"IMAP_USELOCKS": "1", "IMAP_KEYWORDS": "1", "IMAP_ACL": "1"}
    assert report["findings"] == []


def test_the_cache_is_estimated(lab, survey, sound):
    """A size list with UIDLs of its own makes the estimate larger; so do messages."""
    before = survey.json()["estimate"]["cache_bytes"]
    edit(sound.maildir(ANN) / "courierimapuiddb", lambda content: content.replace(
        content.splitlines()[0], b"1 5 2000") + b"".join(
            b"%d 1700000000.M%dP1.mx\n" % (uid, uid) for uid in range(1000, 2000)))
    after = survey.json()["estimate"]["cache_bytes"]
    assert 25000 < after - before < 40000
