"""Courier's servers on TCP ports, behind a login that knows one password for everybody.

Run as a program: courier_front.py IMAPD COURIERPOP3D STORE... It prints its two ports, and ends when its
standard input does. COURIER_FRONT_ADDRESS gives it the usual ports of that address. couriertcpd and authdaemond are not needed: whoever has logged in is handed over to
the real server. The n-th login of each kind is into the n-th STORE, later ones into the last; so a test
can have a mailbox change between two visits.
"""

import contextlib
import mmap
import os
import re
import select
import signal
import socket
import sys

from servers.lab import MAIL_GID, MAIL_UID

PASSWORD = "secret"
PATIENCE = 60


def read_line(connection):
    """One line, and no byte of the next, which belongs to the server; empty at the end."""
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            return ""
        line += byte
    return line.decode().rstrip("\r\n")


def log_in_by_imap(connection):
    """(user, tag of the LOGIN) of a client that knows the password."""
    connection.sendall(b"* OK ready\r\n")
    while line := read_line(connection):
        tag, command, *words = line.split(" ", 2)
        if command == "CAPABILITY":
            connection.sendall(f"* CAPABILITY IMAP4rev1 NAMESPACE\r\n{tag} OK done\r\n".encode())
        elif command == "LOGIN":
            user, password = re.fullmatch(r'"(.*)" "(.*)"', words[0]).groups()
            if password == PASSWORD:
                return user, tag
            connection.sendall(f"{tag} NO Login failed.\r\n".encode())
        elif command == "LOGOUT":
            connection.sendall(f"* BYE\r\n{tag} OK done\r\n".encode())
    sys.exit()


def log_in_by_pop3(connection):
    """(user, None) of a client that knows the password."""
    connection.sendall(b"+OK ready\r\n")
    user = None
    while line := read_line(connection):
        command, _, word = line.partition(" ")
        if command == "USER":
            user = word
        elif command == "PASS" and word == PASSWORD:
            return user, None
        elif command != "QUIT":
            connection.sendall(b"-ERR Login failed.\r\n")
            continue
        connection.sendall(b"+OK\r\n")
    sys.exit()


def serve(connection, program, log_in, stores, count):
    """In a process of its own: lets the client in and becomes the server."""
    signal.alarm(PATIENCE)
    user, tag = log_in(connection)
    signal.alarm(0)
    store = stores[min(count[0], len(stores) - 1)]
    count[0] += 1
    name, _, domain = user.partition("@")
    os.setgroups([])
    os.setgid(MAIL_GID)
    os.setuid(MAIL_UID)
    os.chdir(f"{store}/{domain}/{name}")
    environment = os.environ | {"AUTHENTICATED": user}
    if tag:
        environment |= {"IMAPLOGINTAG": tag, "TCPREMOTEIP": "127.0.0.1", "TCPREMOTEPORT": "1"}
    for descriptor in (0, 1):
        os.dup2(connection.fileno(), descriptor)
    os.execve(program, [program, "Maildir"], environment)


def main():
    """Accepts until standard input ends."""
    imapd, pop3d, *stores = sys.argv[1:]
    listeners = {}
    address = os.environ.pop("COURIER_FRONT_ADDRESS", None)
    for program, log_in, port in ((imapd, log_in_by_imap, 143), (pop3d, log_in_by_pop3, 110)):
        place = (address, port) if address else ("127.0.0.1", 0)
        # A count that all processes share.
        listeners[socket.create_server(place)] = (program, log_in, stores, mmap.mmap(-1, 1))
    print(*(listener.getsockname()[1] for listener in listeners), flush=True)
    started = set()
    while sys.stdin not in (ready := select.select([sys.stdin, *listeners], [], [])[0]):
        for listener in ready:
            connection = listener.accept()[0]
            started.add(os.fork() or serve(connection, *listeners[listener]))
            connection.close()
        started -= {pid for pid in started if os.waitpid(pid, os.WNOHANG)[0]}
    for pid in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
