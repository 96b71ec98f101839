"""python3 -m soak: drives, judges, prints; with tests/ in PYTHONPATH, as root."""

import argparse
import collections
import dataclasses
import random
import shutil
import sys
import tempfile
from pathlib import Path

from servers.mount import COURIERFS
from soak import history
from soak.checker import check, shortest_prefix
from soak.driver import FEW, Soak
from soak.history import Fault, Refusal

SHOWN = 20


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--mounts", type=int, default=2)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--messages", type=int, default=FEW, help="the least in a mailbox")
    parser.add_argument("--options", default="", help="mount options, such as nocache")
    parser.add_argument("--hosts", action="store_true",
                        help="each mount on a host of its own: pid namespace and name")
    parser.add_argument("--faults", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--keep", type=Path, help="where a violation's history and store go")
    parser.add_argument("--daemon", type=Path, default=COURIERFS, help="another build of it")
    parser.add_argument("--judge", type=Path, help="only judge a history that was kept")
    return parser.parse_args()


def summary(report, records, soak=None):
    """What happened, in a few lines."""
    print(f"{report.records} records, {report.sightings} observations of messages")
    if soak is not None:
        operations = collections.defaultdict(list)
        for (program, what), count in sorted(soak.book.operations.items()):
            slow = soak.book.longest.get((program, what), 0)
            operations[program].append(f"{what} {count}" + (f" (≤{slow:.1f} s)" * (slow > 2)))
        for program, counts in operations.items():
            print(f"  {program}: {', '.join(counts)}")
    kills = collections.Counter(
        r.what + (" with the lock" if r.holding_lock else "") for r in records
        if isinstance(r, Fault))
    print(f"kills: {', '.join(f'{what} {n}' for what, n in sorted(kills.items())) or 'none'}")
    refusals = collections.Counter(
        (r.program, r.what, r.text[:90]) for r in records if isinstance(r, Refusal))
    for (program, what, text), count in refusals.most_common(15):
        print(f"  refused {count}: {program} {what}: {text}")
    for text, count in (soak.problems.most_common(15) if soak else []):
        print(f"  logged {count}: {text}")
    counts = report.counts()
    print(f"Courier's own artefacts: {', '.join(f'{k} {n}' for k, n in counts.items()) or 'none'}")
    kinds = collections.Counter(v.kind for v in report.violations)
    print(f"violations: {', '.join(f'{k} {n}' for k, n in kinds.items()) or 'none'}")
    shown = collections.Counter()
    for violation in report.violations:
        shown[violation.kind] += 1
        if shown[violation.kind] > 6:
            continue
        print(f"  {violation.kind}: {violation.text[:600]}")


def concerns(record, finding):
    """Whether a record tells something about what was found."""
    if isinstance(record, Fault):
        return True
    line = history.to_line(record)
    return all(f'"{part}"' in line for part in finding.about if isinstance(part, str))


def explain(records, finding):
    """The end of the shortest prefix that shows the violation."""
    prefix = shortest_prefix(records, finding)
    about = [r for r in prefix if concerns(r, finding)]
    print(f"shortest prefix: {len(prefix)} of {len(records)} records; of {finding.about}:")
    for record in about[-SHOWN:]:
        if hasattr(record, "messages"):
            record = dataclasses.replace(
                record, messages=[m for m in record.messages if set(m[:2]) & set(finding.about)])
        print("  " + history.to_line(record)[:400])


def keep(directory, soak, records):
    """Saves history, logs and store."""
    directory = directory or Path(tempfile.mkdtemp(prefix="soak-kept."))
    directory.mkdir(parents=True, exist_ok=True)
    history.write(directory / "history.jsonl", records)
    shutil.copytree(soak.store.path, directory / "store", dirs_exist_ok=True)
    for node in soak.nodes:
        shutil.copy(node.mount.log, directory / f"{node.name}.courierfs.log")
        shutil.copy(node.dovecot.log, directory / f"{node.name}.dovecot.log")
    print(f"kept in {directory}")


def main():
    """The exit status is 1 if there was a violation."""
    given = arguments()
    if given.judge:
        records = history.read(given.judge)
        report = check(records)
        summary(report, records)
    else:
        seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
        options = [option for option in given.options.split(",") if option]
        print(f"seed {seed}, {given.seconds} s, {given.mounts} mounts, {given.workers} workers, "
              f"options {given.options or 'none'}, faults {given.faults}, hosts {given.hosts}, "
              f"from {given.messages} messages on", flush=True)
        soak = Soak(seed, given.mounts, options, given.workers, given.faults, given.messages,
                    given.daemon, given.hosts)
        try:
            try:
                soak.run(given.seconds)
            except BaseException:
                keep(given.keep, soak, soak.history)
                raise
            records = soak.history
            report = check(records)
            summary(report, records, soak)
            if report.violations or given.keep:
                keep(given.keep, soak, records)
        finally:
            soak.close()
    if report.violations:
        explain(records, report.violations[0])
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
