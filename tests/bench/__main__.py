"""python3 -m bench: what courierfs costs; with tests/ in PYTHONPATH, as root.

Every figure is a ratio within one round, in which all sides take their turn; the median of the rounds is
shown with the least and the greatest, because machines are shared and noisy. The tables go to
standard output, and with the plots to index.html and figures.json in --output.
"""

import argparse
import json
import os
import platform
import signal
import sys
from pathlib import Path

from servers.lab import BUILD, Lab

from bench import crowd, memory, migration, page, serving
from bench.figures import Figures
from bench.sides import SIDES

PARTS = {
    "folders": serving.fast,
    "slow": serving.slow,
    "list": serving.many_folders,
    "pop3": serving.first_pop3,
    "crowd": crowd.measure,
    "memory": memory.measure,
    "migration": migration.measure,
}


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART",
                        help=f"of {', '.join(PARTS)}; without, all of them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sides", type=lambda text: text.split(","),
                        default=[side.name for side in SIDES],
                        help="of native,plain,courierfs,nocache,control,courier; native must be there")
    parser.add_argument("--short", action="store_true", help="small cases: whether it works")
    parser.add_argument("--script", type=Path, help="courier-dovecot-migrate.pl, to compare with")
    parser.add_argument("--draw", type=Path, nargs="+", metavar="FILE", default=[],
                        help="measure nothing; a page of what these figures.json say")
    parser.add_argument("--output", type=Path, default=BUILD / "bench")
    given = parser.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    if not {"native"} <= set(given.sides) <= {side.name for side in SIDES}:
        parser.error(f"no such sides, or without native: {', '.join(given.sides)}")
    given.say = lambda text: print(f"  {text}", file=sys.stderr, flush=True)
    return given


def measured(given, part):
    """The part's Figures, each as soon as it is there, in a laboratory of their own."""
    lab = Lab()
    try:
        yield from PARTS[part](given, lab)
    finally:
        lab.close()


def main():
    """The exit status is 0 if everything could be measured."""
    # Told to end, it still unmounts and reaps what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    given = arguments()
    given.output.mkdir(parents=True, exist_ok=True)
    about = (f"{given.rounds} rounds, {os.cpu_count()} processors, Linux {platform.release()}, "
             "store on a local disk")
    found = [Figures.of_json(data) for path in given.draw
             for data in json.loads(path.read_text(encoding="utf-8"))]
    for part in () if given.draw else given.parts or PARTS:
        for figures in measured(given, part):
            print(figures.as_text(), end="\n\n", flush=True)
            found.append(figures)
            (given.output / "figures.json").write_text(
                json.dumps([figures.as_json() for figures in found], indent=1), encoding="utf-8")
    page.write(given.output, found, about)
    print(f"page: {given.output / 'index.html'}")


if __name__ == "__main__":
    sys.exit(main())
