"""Figures: seconds by operation and side, round by round; what counts are ratios within a round."""

import statistics
from collections import defaultdict


class Figures:
    """One table: rows are operations, columns are sides, BASE is the side others are compared to."""

    def __init__(self, title, base):
        self.title = title
        self.base = base
        self.seconds = defaultdict(lambda: defaultdict(list))
        self.counts = defaultdict(dict)
        # Numbers that are no comparison: {what: number}.
        self.facts = {}
        # Points of the daemon's memory, each {what: number}.
        self.curve = []

    @classmethod
    def of_json(cls, data):
        """What as_json gave."""
        figures = cls(data["title"], data["base"])
        for operation, row in data["operations"].items():
            for side, found in row.items():
                figures.seconds[operation][side] = found["seconds"]
                if found["counts"]:
                    figures.counts[operation][side] = found["counts"]
        figures.facts, figures.curve = data["facts"], data["curve"]
        return figures

    def add(self, operation, side, seconds):
        """One more round's figure."""
        self.seconds[operation][side].append(seconds)

    def set_counts(self, operation, side, counts):
        """What the operation made the side do; the last round's stays."""
        self.counts[operation][side] = counts

    def ratios(self, operation, side):
        """SIDE to base, round by round."""
        base = self.seconds[operation].get(self.base, [])
        return [ours / theirs
                for ours, theirs in zip(self.seconds[operation].get(side, []), base)]

    def ratio(self, operation, side):
        """The median, or None if there was nothing to compare."""
        ratios = self.ratios(operation, side)
        return statistics.median(ratios) if ratios else None

    def sides(self):
        """All but the base, in the order in which they came."""
        seen = dict.fromkeys(side for row in self.seconds.values() for side in row)
        return [side for side in seen if side != self.base]

    def count(self, operation, side, what):
        """A count, or None."""
        return self.counts[operation].get(side, {}).get(what)

    def as_json(self):
        """All of it."""
        return {
            "title": self.title,
            "base": self.base,
            "operations": {
                operation: {side: {"seconds": seconds,
                                   "ratios": self.ratios(operation, side),
                                   "counts": self.counts[operation].get(side, {})}
                            for side, seconds in row.items()}
                for operation, row in self.seconds.items()},
            "facts": self.facts,
            "curve": self.curve,
        }

    def _cell(self, operation, side):
        ratios = self.ratios(operation, side)
        if not ratios:
            return "-"
        if len(ratios) == 1:
            return f"{ratios[0]:.2f}"
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"

    def as_text(self):
        """A table for a terminal: median ratios, with the least and the greatest."""
        lines = [f"{self.title}: ratio to {self.base}, median (least-greatest)"]
        sides = self.sides()
        if self.seconds:
            lines.append(f"  {'':26}{self.base + ', s':>12}"
                         + "".join(f"{side:>20}" for side in sides))
        for operation, row in self.seconds.items():
            base = f"{statistics.median(row[self.base]):.4f}" if row.get(self.base) else "-"
            lines.append(f"  {operation:26}{base:>12}"
                         + "".join(f"{self._cell(operation, side):>20}" for side in sides))
        lines += self._count_lines()
        lines += [f"  {what}: {number}" for what, number in self.facts.items()]
        lines += [f"  {point}" for point in self.curve[::max(1, len(self.curve) // 4)]]
        return "\n".join(lines)

    def _count_lines(self):
        lines = []
        for operation, row in self.counts.items():
            for side, counts in row.items():
                whole = {what: n for what, n in counts.items()
                         if " to the " in what or " on the " in what}
                if whole:
                    lines.append(f"  {operation}, {side}: "
                                 + ", ".join(f"{n} {what}" for what, n in whole.items()))
        return lines
