"""An IMAP client that shows a test everything the server said.

imaplib hides which command a response belongs to, has no IDLE and returns FETCH
responses as fragments; here every response is a list of parsed values.
"""

import base64
import contextlib
import re
from dataclasses import dataclass, field


class Refused(Exception):
    """The server answered NO or BAD, or said BYE."""


def encode_folder(name):
    """A folder name in modified UTF-7, quoted."""
    def encode_run(match):
        raw = base64.b64encode(match.group().encode("utf-16-be"))
        return "&" + raw.decode().rstrip("=").replace("/", ",") + "-"

    text = re.sub(r"[^\x20-\x7e]+", encode_run, name.replace("&", "&-"))
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def decode_folder(raw):
    """A folder name as text, from modified UTF-7 bytes."""
    def decode_run(match):
        if not match.group(1):
            return "&"
        run = match.group(1).replace(",", "/")
        return base64.b64decode(run + "=" * (-len(run) % 4)).decode("utf-16-be")

    return re.sub("&([^-]*)-", decode_run, raw.decode("ascii"))


@dataclass
class Response:
    """One untagged response: `* 3 EXISTS` has number 3 and name EXISTS."""

    name: str
    number: int = None
    values: list = field(default_factory=list)
    text: str = ""


@dataclass
class Reply:
    """Everything the server said to one command."""

    status: str
    text: str
    responses: list

    def code(self, name):
        """The arguments of a response code such as UIDVALIDITY, or None."""
        texts = [self.text] + [r.text for r in self.responses if r.text]
        for text in texts:
            match = re.match(rf"\[{name}(?: ([^\]]*))?\]", text, re.IGNORECASE)
            if match:
                return match.group(1) or ""
        return None

    def named(self, name):
        """The untagged responses of this name."""
        return [r for r in self.responses if r.name == name]

    def fetched(self):
        """[{item: value}] for each FETCH response, item names in upper case."""
        found = []
        for response in self.named("FETCH"):
            pairs = response.values[0]
            found.append({pairs[i].decode().upper(): pairs[i + 1]
                          for i in range(0, len(pairs), 2)})
        return found


class _Values:
    """Parses the pieces of one response: text lines with literals between them."""

    def __init__(self, pieces):
        self._pieces = pieces
        self._piece = 0
        self._at = 0

    def _text(self):
        return self._pieces[self._piece]

    def parse(self):
        """All values up to the end of the response, or of the list that is open."""
        values = []
        while True:
            text = self._text()
            while self._at < len(text) and text[self._at:self._at + 1] == b" ":
                self._at += 1
            if self._at >= len(text):
                return values
            char = text[self._at:self._at + 1]
            if char == b"(":
                self._at += 1
                values.append(self.parse())
            elif char == b")":
                self._at += 1
                return values
            elif char == b'"':
                values.append(self._quoted())
            elif re.match(rb"\{\d+\}$", text[self._at:]):
                values.append(self._pieces[self._piece + 1])
                self._piece += 2
                self._at = 0
            else:
                values.append(self._atom())

    def _quoted(self):
        match = re.compile(rb'"((?:[^"\\]|\\.)*)"').match(self._text(), self._at)
        self._at = match.end()
        return re.sub(rb"\\(.)", rb"\1", match.group(1))

    def _atom(self):
        match = re.compile(rb"[^ ()\[]*(?:\[[^\]]*\])?[^ ()]*").match(self._text(), self._at)
        self._at = match.end()
        return None if match.group() == b"NIL" else match.group()


class Imap:
    """A session with an IMAP server. A context manager: leaves by LOGOUT."""

    def __init__(self, connection):
        self.connection = connection
        self._tag = 0
        self._closed = False
        # Called with every untagged response, also of a command that is never answered.
        self.witness = None
        try:
            self.greeting = self._response()
        except BaseException:
            self.close()
            raise
        if self.greeting.name not in ("OK", "PREAUTH"):
            self.close()
            raise Refused(f"{self.greeting.name} {self.greeting.text}")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None and not self._closed:
            self.command("LOGOUT")
        self.close()

    def close(self):
        """Closes the connection without a LOGOUT."""
        if not self._closed:
            self._closed = True
            self.connection.close()

    def _pieces(self):
        pieces = []
        while True:
            line = self.connection.line().rstrip(b"\r\n")
            pieces.append(line)
            match = re.search(rb"\{(\d+)\}$", line)
            if not match:
                return pieces
            pieces.append(self.connection.read(int(match.group(1))))

    def _response(self):
        """The next response: a Response, or (tag, status, text), or None for `+`."""
        pieces = self._pieces()
        first, _, rest = pieces[0].partition(b" ")
        if first == b"+":
            return None
        if first != b"*":
            status, _, text = rest.decode("utf-8", "replace").partition(" ")
            return first.decode(), status, text
        word, _, rest = rest.partition(b" ")
        number = None
        if word.isdigit():
            number = int(word)
            word, _, rest = rest.partition(b" ")
        name = word.decode().upper()
        if name in ("OK", "NO", "BAD", "BYE", "PREAUTH"):
            return Response(name, text=rest.decode("utf-8", "replace"))
        return Response(name, number, _Values([rest] + pieces[1:]).parse())

    def collect(self, tag):
        """All responses up to the tagged one, or up to a `+` (then the status is `+`)."""
        responses = []
        while True:
            response = self._response()
            if response is None:
                return Reply("+", "", responses)
            if isinstance(response, Response):
                responses.append(response)
                if self.witness:
                    self.witness(response)
            elif response[0] == tag:
                return Reply(response[1].upper(), response[2], responses)

    def command(self, *words, literal=None, expect="OK"):
        """Sends a command and returns the Reply; another status than `expect` raises."""
        self._tag += 1
        tag = f"t{self._tag}"
        text = " ".join(str(word) for word in words)
        if literal is not None:
            text += f" {{{len(literal)}}}"
        self.connection.send(f"{tag} {text}\r\n".encode())
        reply = self.collect(tag)
        if literal is not None and reply.status == "+":
            self.connection.send(literal + b"\r\n")
            reply = self.collect(tag)
        if expect and reply.status != expect:
            raise Refused(f"{text}: {reply.status} {reply.text}")
        return reply

    def append(self, folder, message, flags="", date=None, expect="OK"):
        """Appends a message (LF line ends are made CR LF); the Reply."""
        wire = re.sub(rb"\r?\n", b"\r\n", message)
        when = [f'"{date}"'] if date else []
        return self.command("APPEND", encode_folder(folder), f"({flags})", *when,
                            literal=wire, expect=expect)

    def select(self, folder, expect="OK"):
        """Selects a folder."""
        return self.command("SELECT", encode_folder(folder), expect=expect)

    def examine(self, folder, expect="OK"):
        """Selects a folder for reading only."""
        return self.command("EXAMINE", encode_folder(folder), expect=expect)

    def status(self, folder, items="MESSAGES UIDNEXT UIDVALIDITY UNSEEN", expect="OK"):
        """{item: number} of a folder's STATUS."""
        reply = self.command("STATUS", encode_folder(folder), f"({items})", expect=expect)
        if reply.status != "OK":
            return reply
        pairs = reply.named("STATUS")[0].values[1]
        return {pairs[i].decode(): int(pairs[i + 1]) for i in range(0, len(pairs), 2)}

    def uids(self):
        """The UIDs of the selected folder, by message number."""
        return [int(uid) for uid in self.command("UID SEARCH ALL").named("SEARCH")[0].values]

    def flags(self):
        """{UID: set of flags and keywords} of the selected folder, without \\Recent."""
        reply = self.command("FETCH 1:* (UID FLAGS)") if self.uids() else Reply("OK", "", [])
        return {int(item["UID"]): {f.decode() for f in item["FLAGS"]} - {"\\Recent"}
                for item in reply.fetched()}

    def folders(self, command="LIST"):
        """{folder: set of attributes in upper case} of LIST or LSUB."""
        reply = self.command(command, '""', '"*"')
        return {decode_folder(r.values[2]): {a.decode().upper() for a in r.values[0]}
                for r in reply.named(command)}

    @contextlib.contextmanager
    def idle(self):
        """IDLE: gives a function that waits for an untagged response of some name."""
        self._tag += 1
        tag = f"t{self._tag}"
        self.connection.send(f"{tag} IDLE\r\n".encode())
        if self.collect(tag).status != "+":
            raise Refused("IDLE")

        def wait_for(name):
            while True:
                response = self._response()
                if isinstance(response, Response) and response.name == name:
                    return response

        yield wait_for
        self.connection.send(b"DONE\r\n")
        self.collect(tag)
