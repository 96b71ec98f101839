"""Subscriptions: one list, whichever server a client asks."""

import pytest

from servers.courier_files import SUBSCRIPTIONS, UidDatabase, edit
from servers.imap import encode_folder
from servers.lab import as_mail_user
from servers.store import ANN, BOB, GUS, letter

pytestmark = pytest.mark.any_layout

ODD_LINES = ["#shared.bob.public", "Not.below.INBOX", "INBOX.No.such.folder"]


def couriers_lines(site, user):
    """The names in Courier's file."""
    path = site.store.maildir(user) / SUBSCRIPTIONS
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def test_what_courier_subscribed(site):
    """Dovecot's file is Courier's without the prefix."""
    with as_mail_user():
        text = (site.seen(ANN) / "subscriptions").read_text(encoding="utf-8")
    assert {"Entwürfe", "R&D", "日本語", "INBOX"} <= set(text.splitlines())
    assert {"INBOX.Entwürfe", "INBOX.R&D", "INBOX"} <= site.agree(ANN).subscriptions


def test_subscribe_and_unsubscribe(site):
    """Through Dovecot, then Courier, in turn."""
    with site.dovecot.imap(ANN) as imap:
        imap.command("SUBSCRIBE", encode_folder("INBOX.Пошта"))
        imap.command("UNSUBSCRIBE", encode_folder("INBOX.R&D"))
    assert "INBOX.Пошта" in couriers_lines(site, ANN)
    assert "INBOX.R&D" not in couriers_lines(site, ANN)
    with site.courier.imap(site.store.maildir(ANN)) as imap:
        imap.command("SUBSCRIBE", encode_folder("INBOX.R&D"))
        imap.command("UNSUBSCRIBE", encode_folder("INBOX.Пошта"))
    names = site.agree(ANN).subscriptions
    assert "INBOX.R&D" in names and "INBOX.Пошта" not in names


def test_the_first_subscription_of_all(site):
    """A user who never subscribed to anything does so through Dovecot."""
    assert couriers_lines(site, GUS) == []
    with site.dovecot.imap(GUS) as imap:
        imap.command("SUBSCRIBE", encode_folder("INBOX.Å - ångström"))
    assert couriers_lines(site, GUS) == ["INBOX.Å - ångström"]
    assert site.agree(GUS).subscriptions == {"INBOX.Å - ångström"}


def test_the_last_subscription_goes(site):
    """An empty list is an empty list for both."""
    with site.dovecot.imap(BOB) as imap:
        imap.command("UNSUBSCRIBE", encode_folder("INBOX.to do"))
    assert site.agree(BOB).subscriptions == set()
    with site.dovecot.imap(BOB) as imap:
        imap.command("SUBSCRIBE INBOX.Work")
    assert site.agree(BOB).subscriptions == {"INBOX.Work"}


def test_lines_that_are_not_dovecots_stay(site):
    """Shared folders and names without a folder survive every change through Dovecot."""
    path = site.store.maildir(ANN) / SUBSCRIPTIONS
    edit(path, lambda content: ("\n".join(ODD_LINES) + "\n").encode() + content)
    with site.dovecot.imap(ANN) as imap:
        imap.command("SUBSCRIBE", encode_folder("INBOX.Lists"))
        imap.command("UNSUBSCRIBE", encode_folder("INBOX.Sent"))
    lines = couriers_lines(site, ANN)
    assert set(ODD_LINES) <= set(lines)
    assert "INBOX.Lists" in lines and "INBOX.Sent" not in lines
    assert len(lines) == len(set(lines))


def test_no_final_newline(site):
    """A last line without its end is a subscription like any other."""
    edit(site.store.maildir(ANN) / SUBSCRIPTIONS, lambda content: content.rstrip(b"\n"))
    before = site.ask_courier_on_a_copy(ANN).subscriptions
    with site.dovecot.imap(ANN) as imap:
        assert set(imap.folders("LSUB")) == before
        imap.command("SUBSCRIBE INBOX.Lists")
    assert site.agree(ANN).subscriptions == before | {"INBOX.Lists"}


@pytest.mark.ordinary_layout
def test_a_store_of_an_older_courier(site):
    """Before 5.0 Courier kept names in modified UTF-7, on disk and in its list: Dovecot without
    `:UTF-8` does likewise, and every byte goes through as it is."""
    maildir = site.store.maildir(GUS)
    folder = encode_folder("INBOX.Entwürfe & mehr").strip('"')
    with as_mail_user():
        for part in ("cur", "new", "tmp"):
            (maildir / folder.removeprefix("INBOX") / part).mkdir(mode=0o700, parents=True)
        (maildir / SUBSCRIPTIONS).write_text(f"{folder}\n", encoding="ascii")
    name, _, domain = GUS.partition("@")
    old = {"mail_location": f"maildir:{site.mount.point}/{domain}/{name}/Maildir"
                            f":INDEX={site.dovecot.index}/old/{domain}/{name}"}
    with site.dovecot.imap(GUS, **old) as imap:
        assert "INBOX.Entwürfe & mehr" in imap.folders()
        assert set(imap.folders("LSUB")) == {"INBOX.Entwürfe & mehr"}
        imap.append("INBOX.Entwürfe & mehr", letter(1), "\\Seen")
        imap.command("CREATE", encode_folder("INBOX.Пошта"))
        imap.command("SUBSCRIBE", encode_folder("INBOX.Пошта"))
    post = encode_folder("INBOX.Пошта").strip('"')
    assert couriers_lines(site, GUS) == [folder, post]
    assert (maildir / post.removeprefix("INBOX")).is_dir()
    with site.dovecot.imap(GUS, **old) as imap:
        imap.command("UNSUBSCRIBE", encode_folder("INBOX.Entwürfe & mehr"))
    assert couriers_lines(site, GUS) == [post]
    uids = UidDatabase.read(maildir / folder.removeprefix("INBOX")).uids
    assert list(uids.values()) == [1]


@pytest.mark.parametrize("forget", [False, True], ids=["kept", "deleted"])
def test_subscriptions_survive_a_remount(site, forget):
    """The list is Courier's, so nothing else needs to survive."""
    with site.dovecot.imap(ANN) as imap:
        imap.command("SUBSCRIBE INBOX.Lists")
    before = site.ask_dovecot(ANN).subscriptions
    site.mount.remount(forget)
    assert site.agree(ANN).subscriptions == before
