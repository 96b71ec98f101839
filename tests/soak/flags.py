"""The rule of flags and keywords: they are what those who changed them left behind.

A look may show what a change that was under way, or one that nobody acknowledged, would make
of a flag; or what the last acknowledged change made of it, which must be seen at once on its own
node and within the bound elsewhere. Another value is a violation, unless a step in the store
proves whose doing it was.
"""

from soak.deeds import BEFORE_ALL, Deed, Look, possible


class Flags:
    """Judges flags; one instance for one history."""

    def __init__(self, evidence, changes, looks, bound):
        self._evidence = evidence
        self._changes = changes  # (mailbox, token): the Changes of this message
        self._looks = looks  # id(listing): Look
        self._bound = bound

    def findings(self, listing, sighting, put):
        """What is wrong with the flags of a message in a listing: (kind, flag, sentence) of each
        that is; the kind is `flag` or an artefact's."""
        changes = self._changes[listing.mailbox, sighting.token]
        shown = {flag.lower() for flag in sighting.flags} - {"\\recent"}
        asked = {flag.lower() for change in changes for flag in change.add + change.remove}
        for flag in shown | asked | {flag.lower() for flag in put.flags or []}:
            value = flag in shown
            why = self._why(listing, put, changes, flag, value)
            if why is not None:
                state = "has" if value else "has not"
                yield why, flag, (f"{listing.by} at {listing.start:.3f}: {sighting.token} in "
                                  f"{listing.mailbox} {state} {flag}")

    def _why(self, listing, put, changes, flag, value):
        """None if a look may show this value of a flag, else what it is a sign of."""
        look = self._looks[id(listing)]

        def is_explained(deeds, look=look):
            return any(d.value in (value, None) for d in possible(deeds, look, self._bound))

        deeds = self._deeds(put, changes, flag)
        if is_explained(deeds):
            return None
        about = (listing.mailbox, put.token)
        late = [Deed(step, value, False)
                for step, value in self._evidence.late_writes(*about, flag, changes)]
        if is_explained(deeds + late):
            return "dovecot-late"
        if is_explained(self._deeds(put, changes, flag, but_not_idle=True) + late):
            return "idle-store"
        busy = Look(min(look.start, self._evidence.busy_since(listing)), look.end, look.index)
        if is_explained(deeds + late, busy):
            return "dovecot-busy"
        if flag.startswith("\\"):
            return "flag"
        written = [Deed(step, flag in step.words, False)
                   for step in self._evidence.keywords_by_courier(*about)]
        return "courier-keywords" if is_explained(deeds + late + written) else "flag"

    def _is_idle(self, change, flag, value):
        """Whether the server acknowledged this and did nothing below."""
        if not change.is_courier and self._evidence.outage_of(change, self._bound) is None:
            return False
        return not self._evidence.flag_was_written(change, flag, value)

    def _deed(self, record, value, sure):
        return Deed(record, value, sure, self._evidence.index_of(record))

    def _deeds(self, put, changes, flag, but_not_idle=False):
        """What was done to a flag; what was acknowledged only is not sure, if so wished."""
        first = None if put.flags is None else flag in (f.lower() for f in put.flags)
        # A new message may be listed without its flags until the bound.
        deeds = [Deed(BEFORE_ALL, False, True), self._deed(put, first, put.acknowledged)]
        for change in changes:
            value = flag in (f.lower() for f in change.add)
            if value or flag in (f.lower() for f in change.remove):
                idle = but_not_idle and self._is_idle(change, flag, value)
                deeds.append(self._deed(change, value, change.acknowledged and not idle))
        return deeds
