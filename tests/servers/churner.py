"""Deletes messages of a maildir and puts new ones in their place, until it is told to end.

Run as a program: churner.py MAILDIR. Of a few places in cur each is taken by one message after another;
a file system gives the new file the inode number of the old one. Every message says its own base name,
over and over (`content`). It ends when its standard input does, and prints how many there were.
"""

import os
import select
import sys

PLACES = 8
SIZE = 4000
# All have one time, too: neither tells a file from the one whose inode number it got.
TIME = 1_600_000_000


def content(base):
    """A message that says its name all over; all have one size."""
    return (f"Subject: {base}\n\n" + f"{base}\n" * SIZE).encode()[:SIZE]


def replace(maildir, old, new):
    """Deletes one message, whatever its flags are, and makes another."""
    for name in os.listdir(f"{maildir}/cur"):
        if name.partition(":")[0] == old:
            try:
                os.unlink(f"{maildir}/cur/{name}")
            except FileNotFoundError:
                return False  # renamed: the next turn finds it
            break
    with open(f"{maildir}/tmp/{new}", "wb") as file:
        file.write(content(new))
    os.utime(f"{maildir}/tmp/{new}", (TIME, TIME))
    os.rename(f"{maildir}/tmp/{new}", f"{maildir}/cur/{new}:2,")
    return True


def main():
    """Replaces until standard input ends."""
    count = 0
    living = [""] * PLACES
    while not select.select([sys.stdin], [], [], 0)[0]:
        # Each name is a beginning of others.
        new = f"1600000000.M{count}"
        if replace(sys.argv[1], living[count % PLACES], new):
            living[count % PLACES] = new
            count += 1
    print(count)


if __name__ == "__main__":
    main()
