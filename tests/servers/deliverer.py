"""Delivers messages into a maildir one after another, until it is told to end.

Run as a program: deliverer.py MAILDIR. Every message says its own base name. It ends when its standard
input does, and prints how many there were.
"""

import os
import select
import sys
import time

from servers.churner import content

PAUSE = 0.03


def main():
    """Delivers until standard input ends."""
    count = 0
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        name = f"{int(time.time())}.M{count}P{os.getpid()}.mx"
        with open(f"{sys.argv[1]}/tmp/{name}", "wb") as file:
            file.write(content(name))
        os.rename(f"{sys.argv[1]}/tmp/{name}", f"{sys.argv[1]}/new/{name}")
        count += 1
    print(count)


if __name__ == "__main__":
    main()
