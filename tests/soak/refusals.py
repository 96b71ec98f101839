"""The rule of refusals: no server refuses anything, ends a session or keeps it waiting for nothing.

A reason is a kill, a mount that is dead, or what another client has just done to the very thing
that was asked for.
"""

from soak.history import Fault, FileStep, FolderChange, Refusal

# What a server may say to a client that asks for what another one has just made impossible.
EXPECTED = [
    ("courier-imap", "Current box is selected READ-ONLY"),
    ("dovecot-imap", "[EXPUNGEISSUED]"),
    ("courier-pop3", "-ERR Can't open the message file - it's gone!"),
    ("dovecot-pop3", "-ERR Message # expunged."),
]
# A mount that has just come back may still answer what it was asked while it was dead.
SLACK = 0.1


class Refusals:
    """Judges refusals; one instance for one history."""

    def __init__(self, evidence, by_kind):
        self._evidence = evidence
        self._by_kind = by_kind
        self._killed = {fault.by for fault in by_kind[Fault]}

    def findings(self):
        """(kind, about, sentence) of each refusal without a reason; the kind is `stuck`, `refused`
        or an artefact's."""
        for refusal in self._by_kind[Refusal]:
            text = f"{refusal.by} at {refusal.end:.3f}, {refusal.what}: {refusal.text}"
            if refusal.what == "stuck":
                yield "stuck", (refusal.by,), text
            elif self._made_while_others_came(refusal):
                yield "dovecot-create", (refusal.by, refusal.start), text
            elif self._half_deleted(refusal):
                yield "dovecot-delete", (refusal.by, refusal.start), text
            elif not self._has_reason(refusal):
                yield "refused", (refusal.by, refusal.text), text

    def _has_reason(self, refusal):
        return refusal.by in self._killed or \
            self._evidence.outage_of(refusal, SLACK) is not None or \
            any(refusal.program == program and words in refusal.text
                for program, words in EXPECTED)

    def _half_deleted(self, refusal):
        """Whether a Dovecot of this index was killed while it deleted a mailbox."""
        if refusal.program != "dovecot-imap" or "deleted under us" not in refusal.text:
            return False
        index = self._evidence.index_of(refusal)
        return any(change.how == "delete" and not change.acknowledged and
                   change.by in self._killed and change.start <= refusal.end and
                   self._evidence.index_of(change) == index
                   for change in self._by_kind[FolderChange] if not change.is_courier)

    def _made_while_others_came(self, refusal):
        """Whether two programs worked in a new mailbox while a Dovecot made it."""
        if refusal.program != "dovecot-imap" or "[ALREADYEXISTS]" not in refusal.text:
            return False
        for made in self._by_kind[FolderChange]:
            if made.by == refusal.by and made.how == "create" and \
                    made.start <= refusal.start <= made.end:
                steps = [s for s in self._by_kind[FileStep] if s.mailbox == made.mailbox]
                known = any(s.start < made.start for s in steps)
                came = {s.by for s in steps if made.start <= s.start <= made.end}
                return not known and len(came) > 1
        return False
