"""Changes the flags of every message of a maildir by rename, as fast as it can, until it is told to end.

Run as a program: renamer.py MAILDIR. It ends when its standard input does, and prints how often it
renamed.
"""

import os
import select
import sys


def turn(cur, letter):
    """Sets or takes away a letter in the name of every message of a directory; how many."""
    renamed = 0
    for name in os.listdir(cur):
        base, _, flags = name.partition(":2,")
        other = flags.replace(letter, "") if letter in flags else "".join(sorted(flags + letter))
        try:
            os.rename(f"{cur}/{name}", f"{cur}/{base}:2,{other}")
            renamed += 1
        except FileNotFoundError:
            pass  # somebody else renamed it
    return renamed


def main():
    """Renames until standard input ends."""
    renamed = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        renamed += turn(f"{sys.argv[1]}/cur", "F")
    print(renamed)


if __name__ == "__main__":
    main()
