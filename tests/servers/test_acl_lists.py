"""Lists of rights of every kind: whoever somebody is, both servers tell him the same.

Courier's own maildiracl says what a list gives by Courier's rule, and a Dovecot on a plain maildir
what the same commands give without us. The lists are made by dice.
"""

import random

import pytest

from servers.courier_files import edit
from servers.dovecot import Dovecot
from servers.lab import as_mail_user
from servers.rights import EVERYTHING, EXAMPLE, LETTERS, RIGHTS, SITE, SharedSite, my_rights
from servers.store import ANN, BOB, CEM
from servers.together import seed

# Rights are not kept in the cache, so it makes no difference.
pytestmark = pytest.mark.once

FOLDERS = 40
# Whom the lists may name.
COURIERS_WORDS = ["owner", "administrators", "anyone", "anonymous", f"user={BOB}", f"user={ANN}",
                  "group=g", "group=h", "group=administrators", "authenticated", "postmaster"]
DOVECOTS_WORDS = ["anyone", "authenticated", "owner", BOB, ANN, "$g", "$h", "!$g"]
# Dovecot lets more special lines replace these, and we do not know whom they concern.
UNSURE = ("-owner", "-group=", "-user=")
OWN_PREFIX, SHARED_PREFIX = "INBOX.", "#shared.site."
# Courier has no words for these.
REFUSED = ["authenticated", "-authenticated", "-anyone", "!$g"]
# Who asks: a user, and the groups he is in.
PERSONS = [(SITE, ""), (BOB, ""), (BOB, "g"), (ANN, "g,h"), (CEM, ""), (CEM, "h")]
# What Courier's owner always has, and what Dovecot's needs for mail that Courier would deliver.
OWNERS = set("lap")


@pytest.fixture(name="chance")
def make_chance():
    """The dice."""
    number = seed()
    print(f"replay with COURIERFS_SEED={number}")
    return random.Random(number)


@pytest.fixture(name="site")
def make_site(lab, courier, store):
    """A site with many folders."""
    with SharedSite(lab, courier, store, ["attr_timeout=0"]) as site:
        with site.through_courier(SITE) as imap:
            for folder in folders():
                imap.command("CREATE", folder)
        yield site


def folders():
    """The names of the folders, as their owner knows them."""
    return [f"{OWN_PREFIX}F{i}" for i in range(FOLDERS)]


def some(chance, all_letters):
    """A subset of the letters."""
    return "".join(letter for letter in all_letters if chance.random() < 0.4)


def random_file(chance):
    """A file such as Courier may find; every other one is such that Dovecot can say the same."""
    lines = []
    for word in chance.sample(COURIERS_WORDS, chance.randrange(len(COURIERS_WORDS))):
        for sign in chance.choice(["+", "+", "+-", "-", "++-"]):
            lines.append(f"{sign.strip('+')}{word} {some(chance, 'aceilprstwx9')}\n")
    chance.shuffle(lines)
    if chance.random() < 0.5:
        lines = [line for line in lines if not line.startswith(UNSURE)]
    return "".join(lines).encode()


def is_exact(lines, user, groups):
    """Whether Dovecot can say what Courier's lines say about somebody."""
    unsure = (*UNSURE, f"user={user}") if groups else "-owner"
    return not any(line.startswith(unsure) for line in lines)


def by_courier(site, folder, user, groups):
    """What Courier's rule gives to somebody, as Dovecot's letters."""
    who = ["owner"] * (user == SITE) + [f"user={user}"] + [
        f"group={group}" for group in groups.split(",") if group]
    told = site.courier.computed_rights(site.store.maildir(SITE), folder, who)
    rights = set(told.replace("c", "k")) & EVERYTHING
    return rights if rights - {"p"} else set()  # MYRIGHTS does not tell `p` alone


def by_dovecot(dovecot, user, groups):
    """MYRIGHTS of somebody for every folder."""
    prefix = OWN_PREFIX if user == SITE else SHARED_PREFIX
    with dovecot.imap(user, **{"plugin/acl_groups": groups}) as imap:
        return {folder: my_rights(imap, folder.replace(OWN_PREFIX, prefix))
                for folder in folders()}


def test_lists_of_couriers(site, chance):
    """Dovecot gives what Courier's rule gives, or less where its own cannot say the same."""
    for folder in folders():
        edit(site.store.folder(SITE, folder) / RIGHTS, lambda _: random_file(chance))
    for user, groups in PERSONS:
        of_owner = OWNERS if user == SITE else set()
        for folder, dovecot in by_dovecot(site.dovecot, user, groups).items():
            courier = by_courier(site, folder, user, groups)
            told = f"{user} ({groups}) may {dovecot} under Dovecot, {courier} by {site.file(folder)}"
            assert dovecot <= courier | of_owner, told
            if is_exact(site.file(folder), user, groups):
                assert dovecot | of_owner == courier | of_owner, told


def random_commands(chance, folder):
    """Pairs of identifier and command, as somebody who may write anything.

    The owner keeps `a`, which Dovecot alone would let him take from himself.
    """
    for _ in range(chance.randrange(1, 6)):
        sign, who = chance.choice(["", "", "", "-"]), chance.choice(DOVECOTS_WORDS)
        change = chance.choice(["", "", "", "+", "-"])
        said = some(chance, LETTERS)
        if who == "owner":
            said = said.replace("a", "") + ("" if "-" in sign + change else "a")
        if chance.random() < 0.1 and who != "owner":
            yield sign + who, f'DELETEACL {folder} "{sign}{who}"'
        else:
            yield sign + who, f'SETACL {folder} "{sign}{who}" "{change}{said}"'


@pytest.fixture(name="plain")
def make_plain(lab, courier):
    """A Dovecot without us, with the same folders."""
    root = lab.new_directory("plain", owned_by_mail_user=True)
    name, _, domain = SITE.partition("@")
    with as_mail_user():
        (root / domain).mkdir()
    courier.make_maildir(root / domain / name / "Maildir")
    dovecot = Dovecot(lab, root, [EXAMPLE])
    with dovecot.imap(SITE) as imap:
        for folder in folders():
            imap.command("CREATE", folder)
    return dovecot


def may_be_owner(lines, user):
    """Whether a user's line takes what the owner's takes: courierfs does not know who is the owner."""
    return any(line.startswith("-owner ") for line in lines) and any(
        line.startswith(f"-user={user} ") for line in lines)


@pytest.mark.parametrize("number", [1, 2, 3, 13415098])
def test_lists_of_dovecots(site, plain, number):
    """Neither server gives more than Dovecot alone after the same commands."""
    chance = random.Random(number)
    site.expected_complaints = ["dovecot-acl", "Failed to set ACL"]
    with site.through_dovecot(SITE) as imap, plain.imap(SITE) as alone:
        for folder in folders():
            for who, command in random_commands(chance, folder):
                if imap.command(command, expect=None).status == "OK":
                    alone.command(command)
                else:
                    assert who in REFUSED, command
    for user, groups in PERSONS:
        of_owner = OWNERS if user == SITE else set()
        seen = by_dovecot(site.dovecot, user, groups)
        for folder, said in by_dovecot(plain, user, groups).items():
            courier = by_courier(site, folder, user, groups)
            told = (f"{user} ({groups}) may {seen[folder]} under Dovecot, {courier} by "
                    f"{site.file(folder)}, but was said to have {said} in {folder}")
            assert courier <= said | of_owner and seen[folder] <= courier | of_owner, told
            if user != SITE and not groups:
                assert courier == said, told
                assert seen[folder] == courier or may_be_owner(site.file(folder), user), told
