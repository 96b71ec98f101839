"""Keywords: Courier's directory below, Dovecot's letters above, the same words in both."""

import os
import re

import pytest

from servers.answers import same
from servers.courier import deliver
from servers.courier_files import KEYWORDS, base_name
from servers.lab import as_mail_user
from servers.mount import Mount
from servers.store import ANN, BOB, GUS, letter

MANY = [f"Word{number:02}" for number in range(30)]


def control_file(site, user, folder="INBOX"):
    """What Dovecot reads as dovecot-keywords, as {index: word}."""
    with as_mail_user():
        text = (site.seen(user, folder) / "dovecot-keywords").read_text(encoding="utf-8")
    return dict(line.split(" ", 1) for line in text.splitlines())


def store_by_courier(site, user, uids, flags, folder="INBOX"):
    """A STORE through Courier, merged by a scan only if the session goes on."""
    with site.courier.imap(site.store.maildir(user)) as imap:
        imap.select(folder)
        imap.command("UID STORE", uids, flags)


def test_keywords_of_every_age(site):
    """Those in `:list`, in merged updates and in pending updates are shown alike."""
    assert (site.store.maildir(BOB) / KEYWORDS / ":list").exists()
    pending = [name for name in os.listdir(site.store.maildir(BOB) / KEYWORDS)
               if not name.startswith((".", ":"))]
    assert pending, "an update that no scan has merged"
    courier = site.ask_courier_on_a_copy(BOB)
    same(courier, site.ask_dovecot(BOB), "Dovecot after Courier on a copy",
         unbound={message for _, message in courier.pop3})
    site.agree(BOB)


def test_a_new_keyword_is_an_update_file(site):
    """What Dovecot sets is in Courier's directory at once, without any session of Courier's."""
    with site.dovecot.imap(BOB) as imap:
        imap.select("INBOX")
        uid = imap.uids()[0]
        imap.command("UID STORE", uid, "+FLAGS (Fresh)")
        written = [path.read_text(encoding="utf-8").split()
                   for path in (site.store.maildir(BOB) / KEYWORDS).iterdir()
                   if not path.name.startswith(":")]
        assert any("Fresh" in words for words in written)
    assert "Fresh" in site.agree(BOB).folders["INBOX"].messages[uid].flags


def test_the_last_keyword_is_removed(site):
    """A message may lose all its keywords through either server."""
    store_by_courier(site, BOB, "1:*", "+FLAGS (Later)")
    with site.dovecot.imap(BOB) as imap:
        imap.select("INBOX")
        imap.command("UID STORE 1:* -FLAGS (Later Pending)")
    assert all(message.flags <= {"\\Seen"}
               for message in site.agree(BOB).folders["INBOX"].messages.values())
    store_by_courier(site, BOB, "1:*", "+FLAGS (Again)")
    site.agree(BOB)
    store_by_courier(site, BOB, "1:*", "-FLAGS (Again)")
    assert all(message.flags <= {"\\Seen"}
               for message in site.agree(BOB).folders["INBOX"].messages.values())


def test_letters_stay_in_the_mount(site):
    """Dovecot sees a letter in the name; the store's name has none."""
    with site.dovecot.imap(ANN) as imap:
        imap.select("INBOX")
        imap.command("STORE 1 +FLAGS ($Label1 \\Seen)")
    with as_mail_user():
        shown = os.listdir(site.seen(ANN) / "cur")
    stored = os.listdir(site.store.maildir(ANN) / "cur")
    assert {base_name(name) for name in shown} == {base_name(name) for name in stored}
    assert any(name.partition(":2,")[2].upper() != name.partition(":2,")[2] for name in shown)
    assert all(name.partition(":2,")[2].upper() == name.partition(":2,")[2] for name in stored)
    site.agree(ANN)


def test_the_directory_changes_when_keywords_do(site):
    """cur's time on the mount moves when Courier changes a keyword, and only then."""
    site.agree(ANN)
    with as_mail_user():
        before = os.stat(site.seen(ANN) / "cur").st_mtime_ns
        assert os.stat(site.seen(ANN) / "cur").st_mtime_ns == before
    store_by_courier(site, ANN, 2, "+FLAGS (Changed)")
    with as_mail_user():
        assert os.stat(site.seen(ANN) / "cur").st_mtime_ns != before
    site.agree(ANN)


@pytest.mark.parametrize("forget", [False, True], ids=["kept", "deleted"])
def test_letters_are_stable(site, forget):
    """A remount gives every word the letter it had, also when Courier rewrote its list."""
    site.agree(GUS)
    before = control_file(site, GUS, "INBOX.A.B.C")
    assert len(before) == 5
    store_by_courier(site, GUS, "1:*", "+FLAGS (Another)", "INBOX.A.B.C")
    site.agree(GUS)
    site.mount.remount(forget)
    site.agree(GUS)
    after = control_file(site, GUS, "INBOX.A.B.C")
    assert "Another" in after.values()
    if not forget:
        assert before.items() <= after.items()


def test_letters_agree_between_two_mounts(site, lab):
    """Two nodes that mount the same store give the words the same letters."""
    with site.dovecot.imap(GUS) as imap:
        imap.select("INBOX.A.B.C")
        imap.command("STORE 1:2 +FLAGS (Zebra Apple)")
    first = control_file(site, GUS, "INBOX.A.B.C")
    with Mount(lab, site.store.path) as other:
        path = other.point / site.store.folder(GUS, "INBOX.A.B.C").relative_to(site.store.path)
        with as_mail_user():
            text = (path / "dovecot-keywords").read_text(encoding="utf-8")
    assert dict(line.split(" ", 1) for line in text.splitlines()) == first


def test_a_move_out_of_new_that_comes_too_late(site, lab):
    """The kernel still believes in a name in `new` that was saved a moment ago: it is asked to move what has
    gone to `cur`, and has keywords, there. That moves nothing, and takes no keyword away."""
    with site.dovecot.imap(ANN) as imap:
        imap.select("INBOX")
        uid = int(imap.status("INBOX", "UIDNEXT")["UIDNEXT"])
        imap.command("STORE 1 +FLAGS ($Label1)")
    index = next(index for index, word in control_file(site, ANN).items() if word == "$Label1")
    seen, base = site.seen(ANN), "1700100000.M1P1.here,S=266"
    lock, new, cur = seen / "dovecot-uidlist.lock", seen / "new" / base, seen / "cur" / f"{base}:2,"
    with Mount(lab, site.store.path) as other, as_mail_user():
        theirs = other.point / cur.relative_to(site.mount.point)
        (seen / "tmp" / base).write_bytes(letter(1))
        (seen / "tmp" / base).rename(new)
        lock.touch(exist_ok=False)
        lock.unlink()
        theirs.rename(f"{theirs}{chr(ord('a') + int(index))}")
        lock.touch(exist_ok=False)
        with pytest.raises(FileNotFoundError):
            new.rename(cur)
        lock.unlink()
    assert site.agree(ANN).folders["INBOX"].messages[uid].flags == {"$Label1"}


def test_more_keywords_than_letters(site):
    """26 are shown, the others stay with Courier untouched, and the log says so once."""
    with site.courier.imap(site.store.maildir(BOB)) as imap:
        imap.command("CREATE INBOX.Viele")
        for number in range(3):
            imap.append("INBOX.Viele", letter(number), " ".join(MANY[number * 10:][:10]))
        imap.select("INBOX.Viele")
    couriers = site.ask_courier_on_a_copy(BOB).folders["INBOX.Viele"].messages
    with site.dovecot.imap(BOB) as imap:
        imap.select("INBOX.Viele")
        shown = imap.flags()
        for uid, flags in shown.items():
            assert flags <= couriers[uid].flags
        assert sum(map(len, shown.values())) == 26
        removed = sorted(shown[1])[0]
        imap.command("STORE 1:3 +FLAGS (\\Seen)")
        imap.command(f"STORE 1 -FLAGS ({removed})")
    with site.courier.imap(site.store.maildir(BOB)) as imap:
        imap.select("INBOX.Viele")
        for uid, flags in imap.flags().items():
            gone = {removed} if uid == 1 else set()
            assert flags == (couriers[uid].flags | {"\\Seen"}) - gone
    said = [line for line in site.mount.log_lines("warning") if "Viele" in line]
    assert len(said) == 1 and "26" in said[0]


def test_spelling(site):
    """The first spelling of a word wins, and odd but legal words arrive."""
    words = ["a.b", "x/y", "c:d", "+plus", "$Dollar", "under_score", "semi;colon", "#hash"]
    with site.dovecot.imap(BOB) as imap:
        imap.select("INBOX")
        uid = imap.uids()[0]
        imap.command("UID STORE", uid, f"+FLAGS ({' '.join(words)})")
        imap.command("UID STORE", imap.uids()[1], "+FLAGS (LATER)")
    shown = site.agree(BOB).folders["INBOX"].messages
    assert set(words) <= shown[uid].flags


def test_updates_are_merged_when_there_are_many(site):
    """Where no Courier comes by, courierfs folds the updates into `:list` as Courier would."""
    count = 150
    for number in range(count):
        deliver(site.store.maildir(BOB), letter(number))
    with site.dovecot.imap(BOB) as imap:
        imap.select("INBOX")
        uids = imap.uids()
        for place, uid in enumerate(uids):
            imap.command("UID STORE", uid, f"+FLAGS (Third{place % 3} All)")
        imap.command("UID STORE", uids[-1], "-FLAGS (All)")
    before = site.ask_dovecot(BOB)
    waiting = [name for name in os.listdir(site.store.maildir(BOB) / KEYWORDS)
               if not name.startswith((".", ":"))]
    assert len(waiting) < count
    listed = (site.store.maildir(BOB) / KEYWORDS / ":list").read_text(encoding="utf-8")
    assert listed.count(":") > count // 2
    assert "All" not in before.folders["INBOX"].messages[uids[-1]].flags
    same(before, site.ask_courier(BOB), "Courier after the merge")
    site.agree(BOB)


def test_merged_updates_go_when_their_time_is_over(site):
    """Or each look at the keywords would read them all, for as long as no other 64 are set."""
    count = 100
    for number in range(count):
        deliver(site.store.maildir(BOB), letter(number))
    with site.dovecot.imap(BOB) as imap:
        imap.select("INBOX")
        imap.command("STORE 1:* +FLAGS.SILENT (Old)")
        imap.append("INBOX", letter(count))
    directory = site.store.maildir(BOB) / KEYWORDS
    merged = [name for name in os.listdir(directory) if re.match(r"\.\d+\.", name)]
    assert len(merged) >= count
    with as_mail_user():
        for name in merged:  # as if ten minutes had gone by
            _, period, base = name.split(".", 2)
            (directory / name).rename(directory / f".{int(period) - 2}.{base}")
    before = site.ask_dovecot(BOB)
    with site.dovecot.imap(BOB) as imap:
        imap.append("INBOX", letter(count + 1))
    assert not [name for name in os.listdir(directory) if re.match(r"\.\d+\.", name)]
    after = site.agree(BOB).folders["INBOX"].messages
    for uid, message in before.folders["INBOX"].messages.items():
        assert after[uid].flags == message.flags
