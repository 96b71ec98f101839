"""Listings while files are renamed: no message is ever missed, expunged or renumbered.

A directory that is read while files in it are renamed may show a file under neither name. Courier's
own scans lose messages in this way and give them new UIDs (measure_courier_scans.py says how often);
courierfs reads again until a reading saw no change, and believes the union.

Here a program renames every file of a large folder as fast as it can, and a session of Courier's
changes flags of all messages in a loop; neither takes a lock. It scans only once, at the beginning.
"""

import threading
import time

import pytest

from servers.courier_files import UID_DATABASE
from servers.together import MIA, add_large_user, changing_flags, rounds, stopping, working

COUNT = 3000
SECONDS = rounds(6)


@pytest.mark.parametrize("index", ["cold", "warm"])
def test_no_listing_misses_a_message(site, lab, record_property, index):
    """Every session of Dovecot's sees all the UIDs, and the uid database stays as it is."""
    maildir = add_large_user(site, COUNT)
    with site.dovecot.imap(MIA) as imap:
        imap.select("INBOX")
        expected = imap.uids()
    assert expected == list(range(1, COUNT + 1))
    database = (maildir / UID_DATABASE).read_bytes()
    stop, stores, looks = threading.Event(), [], 0
    with site.courier.imap(maildir) as courier:
        courier.select("INBOX")
        with (working(lab, "renamer", maildir) as renamed,
              stopping([changing_flags(courier, stop, stores)], stop)):
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                if index == "cold":
                    site.dovecot.forget_index()
                with site.dovecot.imap(MIA) as imap:
                    imap.select("INBOX")
                    assert imap.uids() == expected
                    for _ in range(3):
                        reply = imap.command("NOOP")
                        assert not reply.named("EXPUNGE") and not reply.named("EXISTS")
                        assert imap.uids() == expected
                        looks += 1
                assert (maildir / UID_DATABASE).read_bytes() == database
    assert renamed[0] > COUNT and stores and looks
    text = (f"{index}: {renamed[0]} renames, {len(stores)} STOREs of {COUNT} by Courier, "
            f"{looks} looks by Dovecot: 0 messages missed")
    print(text)
    record_property("listing", text)
    site.agree(MIA)
    assert (maildir / UID_DATABASE).read_bytes() == database
