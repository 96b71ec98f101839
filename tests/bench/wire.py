"""Sessions of which only the time counts: what the server says is received and not looked into."""

import time

from servers.lab import Connection


class Wire:
    """One session, on a Connection that is logged in already."""

    def __init__(self, connection: Connection):
        self._socket = connection.socket
        self._connection = connection
        self._tag = 0
        self.received = b""

    def _until(self, is_last_line):
        """Receives up to a line of which `is_last_line` says so."""
        parts = []
        tail = b""
        while True:
            part = self._socket.recv(1 << 20)
            if not part:
                raise EOFError("the server closed the connection")
            parts.append(part)
            # Nobody sends anything after the last line, unless asked.
            tail = (tail + part)[-4096:]
            if tail.endswith(b"\r\n") and is_last_line(tail[:-2].rpartition(b"\r\n")[2]):
                self.received = b"".join(parts)
                return

    def greeting(self):
        """Receives the first line."""
        self._until(lambda line: True)

    def imap(self, command, literal=None):
        """An IMAP command that must succeed; seconds until its answer was complete."""
        self._tag += 1
        tag = f"bench{self._tag}".encode()

        def is_answer(line):
            if line.startswith(tag + b" ") and not line.startswith(tag + b" OK"):
                raise RuntimeError(f"{command[:60]}: {line.decode(errors='replace')}")
            return line.startswith(tag + b" ")

        words = command.encode()
        start = time.monotonic()
        if literal is None:
            self._socket.sendall(tag + b" " + words + b"\r\n")
        else:
            self._socket.sendall(tag + b" " + words + b" {%d}\r\n" % len(literal))
            self._until(lambda line: line.startswith(b"+") or is_answer(line))
            self._socket.sendall(literal + b"\r\n")
        self._until(is_answer)
        return time.monotonic() - start

    def pop3(self, command, lines=False):
        """A POP3 command that must succeed; LINES: it is answered by more than one."""
        self._socket.sendall(command.encode() + b"\r\n")
        if lines:
            self._until(lambda line: line == b"." or line.startswith(b"-ERR"))
        else:
            self._until(lambda line: True)
        if not self.received.startswith(b"+OK"):
            raise RuntimeError(f"{command}: {self.received[:80]!r}")

    def close(self):
        """Ends the connection and waits for the program."""
        self._connection.close()
