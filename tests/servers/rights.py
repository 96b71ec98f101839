"""Rights of a folder, asked of and set through either server.

One user, SITE, owns the folders that all may be let into; mount-examples/dovecot-2.3-shared.conf
is Dovecot's side of it.
"""

from servers.courier_files import edit
from servers.imap import encode_folder
from servers.site import Site

SITE = "site@example.org"
EXAMPLE = "dovecot-2.3-shared.conf"
RIGHTS = "courierimapacl"

OWN = "INBOX.SiteSpam"
SHARED = "#shared.site.SiteSpam"

# What both servers' files have; Courier's file says c for k.
LETTERS = "lrwstipekxa"
EVERYTHING = set(LETTERS)


class SharedSite(Site):
    """A site with SITE's folder, and users who come into it through both servers."""

    def __init__(self, lab, courier, store, options=()):
        super().__init__(lab, courier, store, options, examples=[EXAMPLE])
        courier.make_maildir(store.maildir(SITE))
        home = store.maildir(SITE).parent
        self._index = lab.new_directory("index", owned_by_mail_user=True) / "index"
        self._index.write_text(f"site\t5000\t5000\t{home}\tMaildir\n", encoding="utf-8")
        with self.through_courier(SITE) as imap:
            imap.command("CREATE", OWN)

    def through_courier(self, user, **settings):
        """A session with Courier's server, which knows the user and the shared folders."""
        return self.courier.imap(self.store.maildir(user), AUTHENTICATED=user,
                                 IMAP_SHAREDINDEXFILE=str(self._index), **settings)

    def through_dovecot(self, user, **settings):
        """A session with Dovecot's."""
        return self.dovecot.imap(user, **settings)

    def file(self, folder=OWN):
        """The lines of Courier's file."""
        path = self.store.folder(SITE, folder) / RIGHTS
        return path.read_text(encoding="utf-8").splitlines()

    def write_file(self, *lines, folder=OWN):
        """Replaces Courier's file, as another program might."""
        edit(self.store.folder(SITE, folder) / RIGHTS,
             lambda _: "".join(line + "\n" for line in lines).encode())

    def may(self, server, user, folder=SHARED, **settings):
        """The rights that a server tells a user he has, as a set of Dovecot's letters."""
        with getattr(self, f"through_{server}")(user, **settings) as imap:
            return my_rights(imap, folder)

    def both_say(self, user, folder=SHARED):
        """The user's rights as Dovecot tells them; Courier must say the same."""
        dovecot, courier = self.may("dovecot", user, folder), self.may("courier", user, folder)
        assert as_courier_tells(dovecot) == courier, (
            f"{user} may {dovecot} under Dovecot, {courier} under Courier: {self.file()}")
        return dovecot

    def in_file(self, who):
        """The rights in Courier's line of an identifier, as Dovecot's letters; None without one."""
        found = [line.partition(" ")[2] for line in self.file() if line.split(" ")[0] == who]
        return set(found[0].replace("c", "k")) if found else None


def my_rights(imap, folder):
    """MYRIGHTS; none where the server does not answer."""
    reply = imap.command("MYRIGHTS", encode_folder(folder), expect=None)
    found = [response.values[1].decode() for response in reply.named("MYRIGHTS")]
    return letters(found[0]) if found else set()


def letters(text):
    """Rights as a server tells them, as a set.

    Courier tells c for k, and d for e, t and x together; Dovecot adds c and d to these four.
    """
    found = set(text)
    if not found & set("ketx"):
        found |= (set("k") if "c" in found else set()) | (set("etx") if "d" in found else set())
    return found - set("cd")


def as_courier_tells(rights):
    """Courier does not tell e, t and x unless all three are there."""
    return rights if rights >= set("etx") else rights - set("etx")


def access(imap, folder=OWN):
    """GETACL: {identifier: set of letters}."""
    reply = imap.command("GETACL", encode_folder(folder))
    values = [value.decode() for value in reply.named("ACL")[0].values[1:]]
    return {values[i]: letters(values[i + 1]) for i in range(0, len(values), 2)}


def allow(imap, who, rights, folder=OWN, expect="OK"):
    """SETACL."""
    return imap.command("SETACL", encode_folder(folder), f'"{who}"', f'"{rights}"', expect=expect)
