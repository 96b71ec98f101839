"""What a person, or a program, gets to read: accounts as they are done, and a summary."""

import json
import sys
import threading
import time
from collections import Counter, defaultdict


def show_uids(uids):
    """UIDs as IMAP writes sets of them: 3:7,9."""
    runs = []
    for uid in sorted(uids):
        if runs and uid == runs[-1][1] + 1:
            runs[-1][1] = uid
        else:
            runs.append([uid, uid])
    return ",".join(str(first) if first == last else f"{first}:{last}" for first, last in runs)


def printable(text):
    """A text without what would steer a terminal."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode()
                   for sign in text)


def lines_of(findings):
    """Findings in words; messages with the same difference share a line."""
    groups = defaultdict(list)
    for finding in findings:
        groups[finding.where, finding.text].append(finding.item)
    for (where, text), items in groups.items():
        if None in items:
            yield f"{where}: {text}"
        elif isinstance(items[0], int):
            yield f"{where}: UID {show_uids(items)}: {text}"
        else:
            yield f"{where}: UIDL {', '.join(items)}: {text}"


def count(number, noun):
    """A number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def show_time(seconds):
    """A duration for people."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


class Tally:
    """Findings by kind: how many, and in how many accounts."""

    def __init__(self):
        self._findings, self._accounts = Counter(), Counter()

    def add(self, findings):
        """The findings of one account."""
        kinds = Counter(finding.kind for finding in findings)
        self._findings += kinds
        self._accounts.update(kinds.keys())

    def rows(self):
        """(kind, findings, accounts), the commonest first."""
        return [(kind, number, self._accounts[kind])
                for kind, number in self._findings.most_common()]


class Report:
    """Prints results as they come, from any thread, and adds them up."""

    def __init__(self, accounts, longest, as_json=False, show_equal=False):
        self._lock = threading.Lock()
        self._accounts = accounts
        self._longest = longest
        self._json = as_json
        self._show_equal = show_equal
        self._start = time.monotonic()
        self._sums = Counter()
        self._differences, self._notes = Tally(), Tally()

    @property
    def equal(self):
        """Whether everything was asked, and everything is equal."""
        return self._sums["equal"] == self._accounts

    def add(self, result):
        """One account is done."""
        with self._lock:
            self._sums.update(
                done=1, equal=result.equal, differ=bool(result.differences),
                not_asked=bool(result.errors), mailboxes=result.mailboxes,
                messages=result.messages, pop3_messages=result.pop3_messages,
                settled=bool(result.settled))
            self._differences.add(result.differences)
            self._notes.add(result.notes)
            self._clear_progress()
            if self._json:
                self._print_json(account=result.account, equal=result.equal,
                                 differences=[_as_json(f) for f in result.differences],
                                 notes=[_as_json(f) for f in result.notes],
                                 errors=result.errors, mailboxes=result.mailboxes,
                                 messages=result.messages, pop3_messages=result.pop3_messages)
            else:
                self._print_account(result)
            self._show_progress()

    def _print_account(self, result):
        lines = [f"error: {error}" for error in result.errors]
        lines += lines_of(result.differences)
        lines += [f"note: {line}" for line in lines_of(result.notes)]
        if not lines and not self._show_equal:
            return
        self._print(f"{result.account}: {'equal' if result.equal else 'NOT EQUAL'}")
        shown = lines[:self._longest] if self._longest else lines
        for line in shown:
            self._print(f"  {line}")
        if len(shown) < len(lines):
            self._print(f"  and {count(len(lines) - len(shown), 'more line')} (--lines)")

    @staticmethod
    def _print(text):
        print(printable(text), flush=True)

    @staticmethod
    def _print_json(**values):
        print(json.dumps(values), flush=True)

    @staticmethod
    def _clear_progress():
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def _show_progress(self):
        done = self._sums["done"]
        if not sys.stderr.isatty() or done == self._accounts:
            return
        left = (time.monotonic() - self._start) / done * (self._accounts - done)
        print(f"{done:,} of {count(self._accounts, 'account')}, {self._sums['differ']:,} differ, "
              f"{self._sums['not_asked']:,} with errors, {show_time(left)} left",
              end="", file=sys.stderr, flush=True)

    def finish(self, interrupted=False):
        """The summary."""
        with self._lock:
            self._clear_progress()
            if self._json:
                self._print_json(summary={
                    **{name: self._sums[name] for name in (
                        "done", "equal", "differ", "not_asked", "settled", "mailboxes",
                        "messages", "pop3_messages")},
                    "accounts": self._accounts,
                    "differences": _as_rows(self._differences), "notes": _as_rows(self._notes)})
            else:
                self._print_summary(interrupted)

    def _print_summary(self, interrupted):
        sums = self._sums
        if sums["done"] and (self._differences.rows() or self._notes.rows() or sums["not_asked"]):
            self._print("")
        self._print(f"{count(sums['done'], 'account')} asked in "
                    f"{show_time(time.monotonic() - self._start)}: {sums['equal']:,} equal, "
                    f"{sums['differ']:,} with differences, {sums['not_asked']:,} with errors.")
        self._print(f"IMAP: {count(sums['mailboxes'], 'mailbox').replace('xs', 'xes')}, "
                    f"{count(sums['messages'], 'message')}. "
                    f"POP3: {count(sums['pop3_messages'], 'message')}.")
        if sums["settled"]:
            self._print(f"{count(sums['settled'], 'account')} differed for a moment only: "
                        "equal when asked again.")
        for title, tally in (("Differences:", self._differences),
                             ("Notes, which are no differences:", self._notes)):
            rows = tally.rows()
            if rows:
                self._print(title)
            for kind, number, accounts in rows:
                self._print(f"  {kind:32}{number:9,} in {count(accounts, 'account')}")
        if interrupted:
            self._print(f"Interrupted: {count(self._accounts - sums['done'], 'account')} "
                        "not asked.")
        elif self.equal:
            self._print("Equal: both servers give the same answers.")
        else:
            self._print("NOT EQUAL.")


def _as_json(finding):
    return {"kind": finding.kind, "where": finding.where, "item": finding.item,
            "text": finding.text}


def _as_rows(tally):
    return {kind: {"count": number, "accounts": accounts}
            for kind, number, accounts in tally.rows()}
