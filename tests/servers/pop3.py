"""A POP3 client that gives back the bytes of a message as they were sent."""

from servers.imap import Refused


class Pop3:
    """A session with a POP3 server. A context manager: leaves by QUIT."""

    def __init__(self, connection, greets=True):
        self.connection = connection
        self._closed = False
        try:
            if greets:
                self._status()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None and not self._closed:
            self.command("QUIT")
        self.close()

    def close(self):
        """Closes the connection without a QUIT: nothing is deleted."""
        if not self._closed:
            self._closed = True
            self.connection.close()

    def _status(self):
        line = self.connection.line().decode("utf-8", "replace").rstrip("\r\n")
        if not line.startswith("+OK"):
            raise Refused(line)
        return line[3:].strip()

    def command(self, *words):
        """Sends a command and returns the text after +OK."""
        self.connection.send((" ".join(str(word) for word in words) + "\r\n").encode())
        return self._status()

    def _body(self):
        lines = []
        while True:
            line = self.connection.line()
            if line == b".\r\n":
                return lines
            lines.append(line[1:] if line.startswith(b".") else line)

    def uidls(self):
        """The UIDLs, by message number."""
        self.command("UIDL")
        return [line.decode().split()[1] for line in self._body()]

    def sizes(self):
        """The sizes of LIST, by message number."""
        self.command("LIST")
        return [int(line.split()[1]) for line in self._body()]

    def retr(self, number):
        """The bytes of one message, with CR LF line ends."""
        self.command("RETR", number)
        return b"".join(self._body())

    def top(self, number):
        """The bytes of one message, which is not marked as seen."""
        self.command("TOP", number, 10**6)
        return b"".join(self._body())

    def dele(self, number):
        """Marks a message for deletion at QUIT."""
        self.command("DELE", number)
