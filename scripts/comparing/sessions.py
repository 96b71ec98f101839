"""Sessions with a server over IMAP and POP3, by imaplib and poplib; nothing in here changes mail."""

import contextlib
import imaplib
import poplib
import re
import socket
import ssl
from dataclasses import dataclass

from comparing.answers import (
    Folder, Namespaces, Odd, make_listing, parse_fetch, parse_keywords, parse_list,
    parse_numbered, parse_text, quote)

IMAP, POP3 = "IMAP", "POP3"

# The limit of a line is for answers; TOP has lines of messages, which may be longer.
poplib._MAXLINE = 1 << 24  # pylint: disable=protected-access


class Trouble(Exception):
    """A server could not be asked; the text says which one, what for, and why."""


class Refused(Trouble):
    """It answered NO or -ERR."""


class Unreachable(Trouble):
    """It lets nobody in."""


@dataclass
class Server:
    """Where a server is, and how to come in."""

    name: str
    host: str
    ports: dict
    tls: str  # none, starttls or imaps
    context: ssl.SSLContext
    timeout: float
    passwords: dict  # {account: password}; for a master user {None: password}
    master: str = None
    separator: str = "*"

    def login(self, account):
        """The name and the password with which to come into an account."""
        if self.master:
            return f"{account}{self.separator}{self.master}", self.passwords[None]
        if account not in self.passwords:
            raise Unreachable(f"{self.name}: no password for this account")
        return account, self.passwords[account]

    @contextlib.contextmanager
    def asked(self, protocol, what, failure=Trouble):
        """Whatever goes wrong in the block is a `failure` that says what this server was asked."""
        where = f"{self.name} {protocol}: {what}"
        try:
            yield
        except Trouble:
            raise
        except TimeoutError as error:
            raise failure(f"{where}: no answer within {self.timeout:g} s") from error
        except ssl.SSLCertVerificationError as error:
            raise failure(f"{where}: certificate not accepted: {error.verify_message}") from error
        except (OSError, EOFError) as error:
            raise failure(f"{where}: {error.strerror or error}") from error
        except (imaplib.IMAP4.error, poplib.error_proto, Odd) as error:
            raise failure(f"{where}: {_words(error.args[0] if error.args else error)}") from error

    def connect(self, protocol):
        """A client of imaplib or poplib that was greeted, with TLS; nobody is logged in."""
        address = (self.host, self.ports[protocol])
        options = {"timeout": self.timeout}
        with self.asked(protocol, f"cannot connect to '{address[0]}:{address[1]}'", Unreachable):
            if protocol == IMAP:
                if self.tls == "imaps":
                    return imaplib.IMAP4_SSL(*address, ssl_context=self.context, **options)
                client, start, stop = imaplib.IMAP4(*address, **options), "starttls", "shutdown"
            else:
                if self.tls == "imaps":
                    return poplib.POP3_SSL(*address, context=self.context, **options)
                client, start, stop = poplib.POP3(*address, **options), "stls", "close"
            if self.tls == "starttls":
                try:
                    getattr(client, start)(self.context)
                except BaseException:
                    getattr(client, stop)()
                    raise
            return client


def _words(text):
    """A server's words, which imaplib and poplib give as bytes, lists of these, or strings."""
    if isinstance(text, (list, tuple)):
        return " ".join(map(_words, text))
    return text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else str(text)


class Session:
    """What both kinds of session have. A context manager: leaves politely, if it can.

    One that is `broken` has lost its connection, or the thread of what the server says.
    """

    protocol = None

    def __init__(self, server, account):
        self.server = server
        self.broken = False
        name, password = server.login(account)
        self._client = server.connect(self.protocol)
        try:
            with self._asked("login", Unreachable):
                self._log_in(name, password)
        except BaseException:
            self.abort()
            self._close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.broken:
            with contextlib.suppress(OSError, EOFError, imaplib.IMAP4.error, poplib.error_proto):
                self._leave()
        self._close()

    def abort(self):
        """Ends the connection from another thread: whoever waits for an answer gets an error."""
        with contextlib.suppress(OSError, AttributeError):
            # Not the method of a TLS socket, which would take the keys from under a reader.
            socket.socket.shutdown(self._client.sock, socket.SHUT_RDWR)

    @contextlib.contextmanager
    def _asked(self, what, failure=Trouble):
        if self.broken:
            raise Trouble(f"{self.server.name} {self.protocol}: {what}: the connection is lost")
        try:
            with self.server.asked(self.protocol, what, failure):
                yield
        except Trouble as error:
            self.broken = not isinstance(error, Refused)
            raise

    def _log_in(self, name, password):
        raise NotImplementedError

    def _leave(self):
        raise NotImplementedError

    def _close(self):
        raise NotImplementedError


class ImapSession(Session):
    """IMAP. Mailboxes are opened by EXAMINE only."""

    protocol = IMAP

    def __init__(self, server, account):
        self._opened = None  # the mailbox's name on the wire
        super().__init__(server, account)

    def _log_in(self, name, password):
        if "LOGINDISABLED" in self._client.capabilities:
            raise Unreachable(f"{self.server.name} IMAP: login: not allowed without TLS")
        # login() would not quote the name, and knows only ASCII.
        status, words = self._client.xatom("LOGIN", quote(name), quote(password))
        if status != "OK":
            raise Unreachable(f"{self.server.name} IMAP: login refused: {_words(words)}")
        self._client.state = "AUTH"

    def _leave(self):
        self._client.logout()

    def _close(self):
        with contextlib.suppress(OSError):
            self._client.shutdown()

    def _ok(self, reply, what):
        status, items = reply
        if status != "OK":
            raise Refused(f"{self.server.name} IMAP: {what}: {_words(items)}")
        return items

    def listing(self):
        """The Listing of the account."""
        with self._asked("list of mailboxes"):
            items = self._ok(self._client.namespace(), "NAMESPACE")
            namespaces = Namespaces(items[0] or b"")
            listed = parse_list(self._ok(self._client.list(), "LIST"))
            subscribed = []
            # Courier's "*" does not go into other namespaces.
            for pattern in ["*", *(prefix + "*" for prefix in namespaces.others)]:
                reply = self._client.lsub('""', quote(pattern))
                subscribed += parse_list(self._ok(reply, "LSUB"))
            return make_listing(namespaces, listed, subscribed)

    def _open(self, name):
        """Opens a mailbox for reading; how many messages it has."""
        self._opened = None
        items = self._ok(self._client.select(quote(name), readonly=True), "EXAMINE")
        self._opened = name
        return int(items[0] or b"0")

    def folder(self, name, with_sizes=True):
        """The Folder of a mailbox, given its name on the wire."""
        with self._asked("EXAMINE"):
            count = self._open(name)
            uidvalidity, next_uid = self._number("UIDVALIDITY"), self._number("UIDNEXT")
            keywords = parse_keywords(self._client.response("FLAGS")[1][-1])
            if uidvalidity is None:
                raise Odd("it tells no UIDVALIDITY")
        with self._asked("FETCH"):
            words = "(UID FLAGS INTERNALDATE%s)" % (" RFC822.SIZE" if with_sizes else "")
            lines = self._client.uid("FETCH", "1:*", words) if count else ("OK", [])
            messages, repeated = parse_fetch(self._ok(lines, "FETCH"), with_sizes)
        if next_uid is None:
            next_uid = self._status_uidnext(name)
        return Folder(uidvalidity, next_uid, keywords, messages, repeated)

    def _number(self, code):
        found = self._client.response(code)[1][-1]
        if found is None:
            return None
        if not found.isdigit():
            raise Odd(f"its {code} is {found!r}")
        return int(found)

    def _status_uidnext(self, name):
        """UIDNEXT of a server that does not tell it with EXAMINE, such as Courier."""
        with self._asked("STATUS"):
            items = self._ok(self._client.status(quote(name), "(UIDNEXT)"), "STATUS")
            match = re.search(rb"UIDNEXT (\d+)\)$", items[-1] or b"")
            return int(match.group(1)) if match else None

    def text(self, name, uid):
        """The text of a message in a mailbox, and how many bytes were sent."""
        with self._asked(f"text of UID {uid}"):
            if self._opened != name:
                self._open(name)
            reply = self._client.uid("FETCH", str(uid), "BODY.PEEK[]")
            text = parse_text(self._ok(reply, "FETCH"))
            return text, len(text)


class Pop3Session(Session):
    """POP3. Texts are fetched by TOP, which marks nothing as seen."""

    protocol = POP3

    def _log_in(self, name, password):
        try:
            self._client.user(name)
            self._client.pass_(password)
        except poplib.error_proto as error:
            raise self._refusal(error, "login refused") from error

    def _refusal(self, error, what):
        """What the server answered, if it did; bytes are its words, a string is poplib's."""
        words = error.args[0]
        if not isinstance(words, bytes):
            return error
        return Refused(f"{self.server.name} POP3: {what}: {_words(words)}")

    def _leave(self):
        self._client.quit()

    def _close(self):
        with contextlib.suppress(OSError):
            self._client.close()

    def messages(self, with_sizes=True):
        """[(UIDL, size or None)] in the server's order."""
        with self._asked("list of messages"):
            uidls = parse_numbered(self._client.uidl()[1])
            if not with_sizes:
                return [(uidl, None) for uidl in uidls]
            sizes = parse_numbered(self._client.list()[1])
            if len(sizes) != len(uidls) or not all(size.isdigit() for size in sizes):
                raise Odd("UIDL and LIST do not fit together")
            return [(uidl, int(size)) for uidl, size in zip(uidls, sizes)]

    def text(self, number):
        """The text of a message, and how many bytes were sent."""
        with self._asked(f"text of message {number}"):
            try:
                _, lines, octets = self._client.top(number, 10**9)
            except poplib.error_proto as error:
                raise self._refusal(error, f"text of message {number}") from error
            return b"".join(line + b"\r\n" for line in lines), octets
