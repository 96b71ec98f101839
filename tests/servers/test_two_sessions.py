"""Two Dovecot sessions of one node beside a Courier session, on the same message.

Dovecot's sessions share what they know of flags, in the index, but each remembers by itself under
which name it last saw a file. Where a STORE asks for the flags that the remembered name has,
Dovecot only looks whether that name still exists (maildir-sync-index.c) and renames nothing: an old
name that seems to be there costs the client its change.
"""

import pytest

from servers.lab import wait_until
from servers.store import ANN

pytestmark = pytest.mark.any_layout


def flags_of(imap, uid):
    """What a session says of a message, after a NOOP."""
    imap.command("NOOP")
    return {flag.decode() for flag in
            imap.command(f"UID FETCH {uid} (FLAGS)").fetched()[0]["FLAGS"]} - {"\\Recent"}


@pytest.mark.parametrize("sign, back", ("+-", "-+"), ids=("set again", "cleared again"))
def test_a_store_back_to_what_a_session_remembers(site, sign, back):
    """A change, undone by Courier, which another session saw, is made once more."""
    wanted = sign == "+"
    with site.dovecot.imap(ANN) as first, site.dovecot.imap(ANN) as second, \
            site.courier.imap(site.store.maildir(ANN)) as courier:
        for imap in (first, second, courier):
            imap.select("INBOX")
        uid = first.uids()[0]
        for _ in range(4):
            first.command(f"UID STORE {uid} {sign}FLAGS (\\Flagged)")
            assert ("\\Flagged" in flags_of(courier, uid)) == wanted
            first.select("INBOX")
            first.command(f"UID FETCH {uid} BODY.PEEK[]")
            courier.command(f"UID STORE {uid} {back}FLAGS (\\Flagged)")
            wait_until(lambda: ("\\Flagged" in flags_of(second, uid)) != wanted,
                       "another session sees what Courier did")
            assert ("\\Flagged" in flags_of(first, uid)) != wanted
            first.command(f"UID STORE {uid} {sign}FLAGS (\\Flagged)")
            assert ("\\Flagged" in flags_of(courier, uid)) == wanted, "a STORE was lost"
            first.command(f"UID STORE {uid} {back}FLAGS (\\Flagged)")
    site.agree(ANN)
