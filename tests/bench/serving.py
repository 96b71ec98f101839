"""What serving a mailbox costs, on each side, over a fast store and over slow ones."""

from contextlib import ExitStack

from bench import operations
from bench.figures import Figures
from bench.operations import OPERATIONS, Visit
from bench.sides import SIDES, ControlFiles, CourierItself, Courierfs, Native
from bench.stores import Shape, make_store, user_name

LARGE = 25 << 20
DELAYS_MS = (0.3, 1, 5)
# What each request costs more shows in these; the others take too long on a slow store.
SLOW_OPERATIONS = tuple(o for o in OPERATIONS if "1000" not in o.name and "25 MB" not in o.name)
FEWER = 100  # of bodies and flags, on a slow store


def make_source(lab, shape, large=LARGE):
    """A store with the account that the operations are done on."""
    folders = {"Copies": Shape(0), "Large": Shape(1, bytes=large)}
    return make_store(lab.new_directory("source") / "store", [(shape, folders)])


def run_round(figures, sides, messages, number, ops):
    """Each operation on each side in turn; every other round in the opposite order."""
    order = sides if number % 2 == 0 else sides[::-1]
    for operation in ops:
        for side in order:
            visit = Visit(side, messages, number)
            operation.run(visit)
            figures.add(operation.name, side.name, visit.seconds)
            if visit.counts:
                figures.set_counts(operation.name, side.name, visit.counts)


def wanted(given, kinds):
    """Those of the sides that were asked for."""
    return [kind for kind in kinds if kind.name in given.sides]


def measure_folder(given, lab, title, shape, kinds=SIDES, delay_ms=None, ops=OPERATIONS):
    """Figures of one folder."""
    figures = Figures(title, base="native")
    source = make_source(lab, shape, large=LARGE if not given.short else 1 << 20)
    with ExitStack() as stack:
        sides = [stack.enter_context(kind(lab, source, delay_ms)) for kind in wanted(given, kinds)]
        # Once beforehand: what is slow only because it was never done is not what is asked.
        for side in sides:
            operations.warm_select(Visit(side, shape.messages, 0))
        for number in range(given.rounds):
            run_round(figures, sides, shape.messages, number, ops)
            given.say(f"{title}, round {number + 1} of {given.rounds}")
    return figures


def fast(given, lab):
    """Folders of growing size, with and without sizes in the names."""
    sizes = (100, 400) if given.short else (1_000, 10_000, 100_000)
    for size in sizes:
        yield measure_folder(given, lab, f"{size:,} messages", Shape(size))
    yield measure_folder(given, lab, f"{sizes[1]:,} messages, no sizes in names",
                         Shape(sizes[1], sizes_in_names=False))


def slow(given, lab):
    """The same over a store whose requests take time."""
    size = 100 if given.short else 10_000
    for delay in DELAYS_MS[1:2] if given.short else DELAYS_MS:
        yield measure_folder(given, lab, f"{size:,} messages, {delay} ms for each request", Shape(size),
                             (Native, Courierfs, ControlFiles, CourierItself), delay, SLOW_OPERATIONS)


def first_pop3(given, lab):
    """The first POP3 session ever, in a mailbox whose names say no sizes."""
    size = 100 if given.short else 10_000
    figures = Figures(f"{size:,} messages, no sizes in names, POP3", base="native")
    source = make_source(lab, Shape(size, sizes_in_names=False), large=2000)
    with ExitStack() as stack:
        sides = [stack.enter_context(kind(lab, source))
                 for kind in wanted(given, (Native, Courierfs, ControlFiles))]
        for number in range(given.rounds):
            for prepare in (False, True):
                for side in sides if number % 2 == 0 else sides[::-1]:
                    side.forget_all()
                    if prepare:
                        side.warm()
                    visit = Visit(side, size, number)
                    operations.pop3_first(visit)
                    name = "first ever" + ", warmed" * prepare
                    figures.add(name, side.name, visit.seconds)
                    figures.set_counts(name, side.name, visit.counts)
            given.say(f"{figures.title}, round {number + 1} of {given.rounds}")
    return [figures]


def many_folders(given, lab):
    """LIST of an account with many folders."""
    count = 20 if given.short else 1_000
    figures = Figures(f"{count:,} folders", base="native")
    folders = {f"Folder {number}": Shape(1) for number in range(count)}
    source = make_store(lab.new_directory("source") / "store", [(Shape(1), folders)])
    with ExitStack() as stack:
        sides = [stack.enter_context(kind(lab, source)) for kind in wanted(given, SIDES)]
        for number in range(given.rounds):
            for side in sides if number % 2 == 0 else sides[::-1]:
                wire = side.imap(user_name(0))
                for command in ('LIST "" "*"', 'LSUB "" "*"'):
                    visit = Visit(side, count, number)
                    visit.timed(lambda word=command, to=wire: to.imap(word))
                    figures.add(command, side.name, visit.seconds)
                    figures.set_counts(command, side.name, visit.counts)
                wire.close()
        given.say(figures.title)
    return [figures]
