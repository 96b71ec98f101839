"""What was done to a flag or a folder, and what a look may show of it."""

from dataclasses import dataclass

from soak.history import Record

# How long a change may take to be seen at the next look. Dovecot looks again at a directory
# that changed within a second of its last look, but only when more than a second has gone by.
BOUND = 3.0
BEFORE_ALL = Record(float("-inf"), float("-inf"), "nobody@store")


class Deed:
    """Something that gave a register (a flag, a folder's existence) a value."""

    __slots__ = ("start", "end", "index", "value", "sure")

    def __init__(self, record, value, sure, index=None):
        self.start = record.start
        self.end = record.end
        self.index = index  # which one its program wrote it into (Evidence.index_of)
        self.value = value  # None: nobody knows
        self.sure = sure  # acknowledged: it did happen, by `end`


@dataclass(frozen=True)
class Look:
    """A look as a reader of deeds sees it: it shows what was so at some moment of this time."""

    start: float
    end: float
    index: tuple


def must_be_seen(deed, look, bound):
    """Whether a look must show what was done: at once where both use the same index."""
    return deed.end + (0 if deed.index == look.index else bound) < look.start


def possible(deeds, look, bound):
    """The deeds whose value a look may show: those that no later sure one overrode."""
    settled = max((d.start for d in deeds if d.sure and must_be_seen(d, look, bound)),
                  default=float("-inf"))
    return [d for d in deeds if d.start <= look.end and d.end >= settled]
