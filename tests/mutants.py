"""The engines with one line changed: each change breaks a rule, and parity or the oracle must say so.

`python -m tests.mutants` runs all of them and writes docs/mutants.md.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hypothesis import given, settings

from fraud3000.features.batch import batch_engine
from fraud3000.features.verification import adversarial_stream, every_kind
from fraud3000.features.verification.parity import compare
from tests import oracle
from tests.judge import as_frame
from tests.streams import CATALOGUE, REGRESSIONS, Stream, frames, record, streams, transactions

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "mutants.md"
ROWS, STREAMS = 300, 30


@dataclass(frozen=True)
class Mutant:
    """A change of one line.

    Attributes
    ----------
    rule
        What it breaks, in the words of docs/concepts.md.
    engine
        Whose code it changes: batch, online, or both.
    file
        Under fraud3000/.
    inside
        The text after which the line stands, such as the head of its function.
    old, new
        The first appearance of `old` after that, and what takes its place.
    """

    rule: str
    engine: str
    file: str
    inside: str
    old: str
    new: str

    @property
    def name(self) -> str:
        return f"{self.file}: {self.inside.partition('(')[0].removeprefix('def ')}: {self.old} -> {self.new}"

    def applied(self, source: str) -> str:
        """The source with the change in it."""
        before, inside, after = source.partition(self.inside)
        if not inside or self.old not in after:
            raise LookupError(f"{self.name} is not there any more")
        return before + inside + after.replace(self.old, self.new, 1)


SWEEPS = ("tallies", "spreads", "extremes", "distincts", "recencies", "label_counts")
_sweeps = partial(Mutant, engine="batch", file="features/batch/window_kernels.py")
_batch = partial(Mutant, engine="batch", file="features/batch/batch_engine.py")
_labels = partial(Mutant, engine="batch", file="labels/visibility.py")
_shared = partial(Mutant, engine="both")

BATCH = (
    *(
        _sweeps(
            "ties do not see each other",
            inside=f"def {sweep}(",
            old="entry[high] + delay < t",
            new="high < starts[key + 1] and entry[high] + delay <= t",
        )
        for sweep in SWEEPS
    ),
    *(
        _sweeps(
            "the far edge is in the window",
            inside=f"def {sweep}(",
            old="entry[low] + whole < t",
            new="entry[low] + whole <= t",
        )
        for sweep in SWEEPS
    ),
    *(
        _sweeps("what arrives later is not seen", inside=f"def {sweep}(", old="if disordered[place]:", new="if False:")
        for sweep in SWEEPS
    ),
    _sweeps(
        "what arrives later is not seen", inside="def out_of_order(", old="newest_before > seq[place]", new="False"
    ),
    _batch(
        "a window ends its delay before t",
        inside="return WindowEdges(",
        old="durations.seconds(feature.delay)",
        new="0",
    ),
    _batch("a bucket is closed when t is past it", inside="def hands(", old="(bucket - 1)", new="bucket"),
    _batch("buckets are counted from the epoch", inside="def hands(", old="entry % bucket", new="(entry + 1) % bucket"),
    _sweeps(
        "exactly the horizon late is in time",
        inside="def leave_late(",
        old="ts[row] + horizon < ",
        new="ts[row] + horizon <= ",
    ),
    _sweeps(
        "late is against the newest event", inside="def leave_late(", old="max(newest[key], ts[row])", new="ts[row]"
    ),
    _batch("amounts are of approved events", inside="self.approved: Bools", old="== APPROVED", new="!= REFUND"),
    _batch("declined events are counted", inside="self.counted: Bools", old="!= REFUND", new="== APPROVED"),
    _batch(
        "a condition on status decides alone",
        inside="def _under(",
        old='met if condition.column == "status" else ',
        new="",
    ),
    _batch(
        "a share is of all events of the window",
        inside="def _among(",
        old="self.counted(None)",
        new="self._valued(None)",
    ),
    _batch("a shift is over the longer window", inside="def _shifts(", old="shift.usual", new="shift.recent"),
    _batch("above is not at least", inside="def meets(", old='"above": column.gt', new='"above": column.ge'),
    _batch("a key with a missing part is none", inside="def _key_codes(", old="| (part < 0)", new="& (part < 0)"),
    _sweeps("a distinct count has a cap", inside="def distincts(", old="min(found, cap)", new="found"),
    _sweeps(
        "a record at t is not known at t",
        inside="def label_counts(",
        old='begins, side="right"',
        new='begins, side="left"',
    ),
    _sweeps(
        "a record at t is not known at t", inside="def label_counts(", old="since[told] < t", new="since[told] <= t"
    ),
    _sweeps(
        "a reversal takes the fraud back",
        inside="def label_counts(",
        old="min(until[mark], enters + whole)",
        new="enters + whole",
    ),
    _labels(
        "declined and unlabelled stay unknown", inside="def presumed(", old='(pl.col("status") != DECLINED) & ', new=""
    ),
    _labels("declined and unlabelled stay unknown", inside="def presumed(", old=' & pl.col("labelled")', new=""),
    _labels(
        "the most trusted source decides",
        inside="def changes(",
        old="range(len(precedence), 0, -1)",
        new="range(len(precedence))",
    ),
    _labels("of equal records the last decides", inside="def changes(", old='keep="last"', new='keep="first"'),
)
_kept = partial(Mutant, engine="online", file="features/online/events.py")
_blocks = partial(Mutant, engine="online", file="features/online/blocks.py")
_buckets = partial(Mutant, engine="online", file="features/online/buckets.py")
_changes = partial(Mutant, engine="online", file="features/online/label_deltas.py")
_singles = partial(Mutant, engine="online", file="features/online/single_event_keys.py")
_step = partial(Mutant, engine="online", file="features/online/observe.py")
_draft = partial(Mutant, engine="online", file="features/online/plan_compiler.py")
_facts = partial(Mutant, engine="online", file="features/online/event_encoder.py")
_records = partial(Mutant, engine="online", file="features/online/label_records.py")
_alone = partial(Mutant, engine="online", file="features/online/row_features.py")

ONLINE = (
    _draft(
        "a shift is over the longer window",
        inside="isinstance(feature, Shift)",
        old="self._places[feature.usual]",
        new="self._places[feature.recent]",
    ),
    _kept("a window ends its delay before t", inside="def read(", old='t - window["near"]', new="t"),
    _kept(
        "the near edge is not in the window", inside="def read(", old='t - window["near"]', new='t - window["near"] + 1'
    ),
    _kept("the far edge is in the window", inside="def read(", old='t - window["far"]', new='t - window["far"] + 1'),
    _kept("an event counts once", inside="def read(", old='until = sums[cell["taken"]]', new="until = end"),
    _kept("a window takes what its aggregate takes", inside="def _take_in(", old="flags & mask != mask", new="False"),
    _kept("declined and unlabelled stay unknown", inside="def _take_in(", old="flags & PRESUMED", new="1"),
    _kept("the last event is the newest one", inside="def _take_in(", old="if sums[out] == 0:", new="if True:"),
    _kept("events stand by time, then arrival", inside="def insert(", old="facts[TS] + 1", new="facts[TS]"),
    _blocks("events stand by time, then arrival", inside="def position(", old="last < moment", new="last <= moment"),
    _blocks(
        "the far edge is in the window",
        inside="def position(",
        old="pool[block + middle * size] < moment",
        new="pool[block + middle * size] <= moment",
    ),
    _blocks(
        "what a late row may see is kept, edge included",
        inside="def unseen(",
        old='newest - section["keep"]',
        new='newest - section["keep"] + 1',
    ),
    _blocks(
        "what a late row may see is kept, edge included",
        inside="def unseen(",
        old='newest - section["horizon"]',
        new='newest - section["horizon"] + 1',
    ),
    _blocks("buckets are counted from the epoch", inside="def floor(", old="int(ts //", new="int((ts + 1) //"),
    _buckets(
        "a bucket is closed when t is past it",
        inside="def read(",
        old='blocks.floor(section, t - window["near"])',
        new='t - window["near"]',
    ),
    _buckets(
        "a bucket is seen whole",
        inside="def read(",
        old='blocks.floor(section, t - window["far"])',
        new='t - window["far"]',
    ),
    _buckets(
        "a late event counts in later buckets' sums",
        inside="def insert(",
        old="row + 1 if kind in (MAX, MIN) else count",
        new="row + 1",
    ),
    _buckets("a distinct count has a cap", inside="def _keep_text(", old="pool[at] == cap", new="pool[at] == 1"),
    _changes(
        "a record at t is not known at t",
        inside="def read(",
        old="pool[change + SINCE] < t",
        new="pool[change + SINCE] <= t",
    ),
    _changes(
        "the far edge is in the window",
        inside="def read(",
        old="far <= pool[change + EVENT_TS]",
        new="far < pool[change + EVENT_TS]",
    ),
    _changes(
        "ties do not see each other",
        inside="def read(",
        old="pool[change + EVENT_TS] < near",
        new="pool[change + EVENT_TS] <= near",
    ),
    _changes(
        "a late row knows only what was recorded before it",
        inside="def settle(",
        old="newest - horizon",
        new="newest",
    ),
    _step("ties do not see each other", inside="def observe(", old="facts[TS])", new="facts[TS] + 1)"),
    _step("exactly the horizon late is in time", inside="def _locate(", old="> plan.horizon", new=">= plan.horizon"),
    _step("late is against the newest event", inside="def _count(", old="max(pool[key + NEWEST], ts)", new="ts"),
    _step(
        "too late is not kept",
        inside="def _insert(",
        old='key = live[section["step"]]',
        new='key = state.keys[section["step"]]',
    ),
    _singles(
        "late is against the newest event",
        inside="def lay_out(",
        old="singles[place + 1] if known else ts",
        new="ts",
    ),
    _singles("an event counts once", inside="def lay_out(", old="int(known) << blocks.CLASS_BITS", new="0"),
    _facts("amounts are of approved events", inside="def _flags(", old="status == IS_APPROVED", new="status != REFUND"),
    _facts("declined events are counted", inside="def _flags(", old="status != REFUND", new="status == IS_APPROVED"),
    _facts("declined and unlabelled stay unknown", inside="def _flags(", old="status != DECLINED and ", new=""),
    _facts("above is not at least", inside="def _satisfies(", old="found > than", new="found >= than"),
    _facts("columns are summed in steps", inside="def _steps(", old="float(value)", new="round(float(value), 3)"),
    _records("the most trusted source decides", inside="def changes(", old="source: -place", new="source: place"),
    _records(
        "of equal records the last decides",
        inside="def changes(",
        old="reported, record.place)",
        new="reported, -record.place)",
    ),
    _records(
        "a reversal takes the fraud back",
        inside="def changes(",
        old="record.is_fraud - known[0]",
        new="max(record.is_fraud - known[0], 0)",
    ),
    _alone(
        "calendar features use the local zone",
        inside="def of(",
        old="fromtimestamp(ts // SECOND, self._zone)",
        new='fromtimestamp(ts // SECOND, ZoneInfo("UTC"))',
    ),
)
SHARED = (
    _shared("sums are exact", file="features/int124.py", inside="def add(", old="high + (low >> 62)", new="high"),
    _shared(
        "squares are exact",
        file="features/int124.py",
        inside="def square(",
        old="2 * upper * lower",
        new="upper * lower",
    ),
    _shared(
        "a deviation is of the sample",
        file="features/formulas.py",
        inside="def deviation(",
        old="(count - 1)",
        new="(count)",
    ),
    _shared(
        "a ratio to nothing is null",
        file="features/formulas.py",
        inside="def ratio(",
        old="mean_ > 0",
        new="mean_ != 0",
    ),
    _shared(
        "an empty window has no mean",
        file="features/formulas.py",
        inside="def mean(",
        old="return math.nan",
        new="return 0.0",
    ),
    _shared(
        "a smoothed rate begins at the prior",
        file="features/formulas.py",
        inside="def smoothed(",
        old="(float(labelled) + ",
        new="(1.0 + float(labelled) + ",
    ),
    _shared("distances are whole metres", file="features/formulas.py", inside="def metres(", old=" + 0.5)", new=")"),
    _shared(
        "columns are summed in steps",
        file="features/formulas.py",
        inside="def steps(",
        old="round(scaled)",
        new="scaled",
    ),
)
ALL = (*BATCH, *ONLINE, *SHARED)
QUICK = tuple(m for m in ALL if m.rule in {"exactly the horizon late is in time", "distances are whole metres"})
"""One of either engine, and one of what they share."""


def by_hand() -> list[Stream]:
    """Streams for changes that drawn ones meet too seldom."""
    there = {"place": (10.0, 10.0)}
    late_tie = transactions({"at": 1}, {"at": 5}, {"at": 1, **there}, {"at": 3})
    in_after_x = transactions({"at": 4}, {"at": 8}, {"at": 5})
    at_the_end_of_what_is_kept = transactions(*({"at": at} for at in (1, 11, 11, 7)))
    steps = transactions(*({"at": at, "risk": 0.00006} for at in range(3)))
    return [(late_tie, []), (in_after_x, [record("0", 8)]), (at_the_end_of_what_is_kept, []), (steps, [])]


@contextmanager
def prepared(rows: int = ROWS, examples: int = STREAMS) -> Iterator[Path]:
    """A folder with streams, and with what is right for them."""
    drawn = [*REGRESSIONS.values(), *by_hand()]

    @settings(max_examples=examples, derandomize=True, database=None, deadline=None)
    @given(streams())
    def draw(stream):  # type: ignore[no-untyped-def]
        drawn.append(stream)

    draw()
    small = [
        (*frames(*stream), as_frame(oracle.features(*stream, CATALOGUE), CATALOGUE)) for stream in drawn if stream[0]
    ]
    catalogue = every_kind.catalogue(precedence=adversarial_stream.SOURCES)
    made = adversarial_stream.stream(catalogue, rows=rows)
    assert compare(made.transactions, made.ledger, catalogue).differing_cells == 0
    right = {
        "transactions": made.transactions,
        "ledger": made.ledger,
        "catalogue": catalogue,
        "features": batch_engine.featurize(made.transactions, made.ledger, catalogue).select(catalogue.names),
        "streams": small,
        "small_catalogue": CATALOGUE,
    }
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "given.pickle").write_bytes(pickle.dumps(right))
        yield Path(place)


def caught(mutant: Mutant, folder: Path) -> dict[str, int]:
    """How many cells each check finds wrong in a copy of the package with the change in it."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        shutil.copytree(ROOT / "fraud3000", copy / "fraud3000", ignore=shutil.ignore_patterns("__pycache__"))
        (copy / "tests").symlink_to(ROOT / "tests")
        path = copy / "fraud3000" / mutant.file
        path.write_text(mutant.applied(path.read_text(encoding="utf-8")), encoding="utf-8")
        command = [sys.executable, "-m", "tests.judge", str(folder), mutant.engine]
        place_of = {**os.environ, "NUMBA_DISABLE_JIT": "1", "POLARS_MAX_THREADS": "1", "PYTHONPATH": str(copy)}
        done = subprocess.run(command, cwd=copy, env=place_of, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{mutant.name}: {done.stderr[-2_000:]}")
    found: dict[str, int] = json.loads(done.stdout)
    return found


def judged(mutants: Iterable[Mutant], *, rows: int = ROWS, examples: int = STREAMS) -> dict[Mutant, dict[str, int]]:
    """What the checks say of some changes, two at a time."""
    with prepared(rows, examples) as folder, ThreadPoolExecutor(2) as pool:
        asked = list(mutants)
        return dict(zip(asked, pool.map(lambda mutant: caught(mutant, folder), asked), strict=True))


HEAD = """# Mutants: what the proofs would catch

<!-- Made by `python -m tests.mutants`; do not edit. -->

A proof that never fails proves little. Below, one line of an engine is changed so that it breaks a rule of
[time](concepts.md), in a copy of the package. Parity pushes a stress stream of {rows} rows through both engines, the
oracle judges small streams; each change must be caught by one of them at least. A change of what both engines
share is for the oracle alone: they agree in it.

| rule | engine | where | parity | oracle |
|---|---|---|---|---|
"""


def page(verdicts: dict[Mutant, dict[str, int]]) -> str:
    """The table of rules and of what catches their breach."""
    lines = [
        f"| {told(mutant)} | {_verdict(by['parity'])} | {_verdict(by['oracle'])} |\n" for mutant, by in verdicts.items()
    ]
    return HEAD.format(rows=ROWS) + "".join(lines)


def told(mutant: Mutant) -> str:
    """A change as the page tells it."""
    place = Path(mutant.file).stem
    if mutant.inside.startswith("def "):
        place += f".{mutant.inside.removeprefix('def ').rstrip('(')}"
    change = (
        f"`{mutant.old.strip()}` → `{mutant.new.strip()}`" if mutant.new.strip() else f"without `{mutant.old.strip()}`"
    )
    return f"{mutant.rule} | {mutant.engine} | `{place}`: " + change.replace("|", "\\|")


def _verdict(cells: int) -> str:
    return "caught" if cells else "–"


if __name__ == "__main__":
    results = judged(ALL)
    PAGE.write_text(page(results), encoding="utf-8")
    for survivor in (mutant for mutant, by in results.items() if not any(by.values())):
        sys.stderr.write(f"not caught: {survivor.name}\n")
