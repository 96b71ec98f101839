"""One day of a mailbox under other settings of Dovecot."""

import pytest

from servers.courier import deliver
from servers.imap import encode_folder
from servers.store import ANN, letter

SETTINGS = {
    "mmap_disable": {"mmap_disable": "yes"},
    "fsync": {"mail_fsync": "always"},
    "no fsync": {"mail_fsync": "never"},
    "flock": {"lock_method": "flock"},
    "all of these": {"mmap_disable": "yes", "mail_fsync": "always", "lock_method": "flock"},
    "locks by link": {"dotlock_use_excl": "no"},
    # With sizes that are not taken from the names Dovecot would cut such copies short.
    "hard links": {"maildir_copy_with_hardlinks": "yes", "maildir_broken_filename_sizes": "no"},
    "nfs": {"mmap_disable": "yes", "mail_fsync": "always", "mail_nfs_storage": "yes"},
    "empty new": {"maildir_empty_new": "yes"},
    "saved uidls": {"pop3_save_uidl": "yes"},
    "no list index": {"mailbox_list_index": "no"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_day(site, name):
    """New mail, flags, keywords, copies, folders and deletions; and both servers agree."""
    settings = SETTINGS[name]
    with site.dovecot.imap(ANN, **settings) as imap:
        imap.select("INBOX")
        deliver(site.store.maildir(ANN), letter(1))
        imap.command("NOOP")
        uids = imap.uids()
        imap.command("UID STORE", uids[-1], "+FLAGS (\\Seen Today)")
        imap.command("CREATE", encode_folder("INBOX.Für später"))
        imap.command("UID COPY", f"{uids[0]}:{uids[1]}", encode_folder("INBOX.Für später"))
        imap.command("UID MOVE", uids[2], encode_folder("INBOX.Entwürfe"))
        imap.append("INBOX", letter(2), "\\Flagged Tomorrow")
        imap.command("UID STORE", uids[3], "+FLAGS (\\Deleted)")
        imap.command("EXPUNGE")
        imap.command("SUBSCRIBE", encode_folder("INBOX.Für später"))
        imap.command("RENAME", encode_folder("INBOX.Lists"), "INBOX.Listen")
    site.dovecot.deliver(ANN, letter(3), **settings)
    with site.dovecot.pop3(ANN, **settings) as pop3:
        pop3.retr(1)
        pop3.dele(2)
    answers = site.agree(ANN, **settings)
    assert len(answers.folders["INBOX.Für später"].messages) == 2
    assert "Today" in answers.folders["INBOX"].messages[uids[-1]].flags
    assert "INBOX.Listen.courier-users" in answers.folders
