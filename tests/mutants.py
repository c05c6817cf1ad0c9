"""Mutation tests of the engines: each mutant changes one line to break a rule, and parity or the oracle must detect it.

`python -m tests.mutants` runs all mutants and writes docs/mutants.md.
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
    """A change of one line of source text.

    Attributes
    ----------
    rule
        The rule that the change breaks.
    engine
        Engine whose code it changes: batch, online, or both.
    file
        Path under fraud3000/.
    inside
        Text before the line, such as the head of its function.
    old, new
        First occurrence of `old` after `inside`, and its replacement.
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
        """Apply the change to the source."""
        before, inside, after = source.partition(self.inside)
        if not inside or self.old not in after:
            raise LookupError(f"{self.name}: text not found")
        return before + inside + after.replace(self.old, self.new, 1)


SWEEPS = ("count_and_sum", "compute_deviations", "find_extremes", "count_distinct", "compute_recency", "count_labels")
_kernels = partial(Mutant, engine="batch", file="features/batch/window_kernels.py")
_engine = partial(Mutant, engine="batch", file="features/batch/batch_engine.py")
_keyed = partial(Mutant, engine="batch", file="features/batch/keyed_events.py")
_labels = partial(Mutant, engine="batch", file="labels/visibility.py")
_shared = partial(Mutant, engine="both")

BATCH = (
    *(
        _kernels(
            "ties do not see each other",
            inside=f"def {sweep}(",
            old="entry[right] + delay < t",
            new="right < starts[key + 1] and entry[right] + delay <= t",
        )
        for sweep in SWEEPS
    ),
    *(
        _kernels(
            "the far edge is in the window",
            inside=f"def {sweep}(",
            old="entry[left] + whole < t",
            new="entry[left] + whole <= t",
        )
        for sweep in SWEEPS
    ),
    *(
        _kernels("what arrives later is not seen", inside=f"def {sweep}(", old="if disordered[row]:", new="if False:")
        for sweep in SWEEPS
    ),
    _kernels(
        "what arrives later is not seen",
        inside="def find_disordered(",
        old="newest_earlier_seq > seq[row]",
        new="False",
    ),
    _keyed(
        "a window ends its delay before t",
        inside="return WindowEdges(",
        old="durations.seconds(feature.delay)",
        new="0",
    ),
    _keyed("a bucket is closed when t is past it", inside="def edges(", old="(bucket - 1)", new="bucket"),
    _keyed("buckets are counted from the epoch", inside="def edges(", old="entry % bucket", new="(entry + 1) % bucket"),
    _kernels(
        "exactly the horizon late is in time",
        inside="def drop_late_keys(",
        old="ts[row] + horizon < ",
        new="ts[row] + horizon <= ",
    ),
    _kernels(
        "late is against the newest event", inside="def drop_late_keys(", old="max(newest[key], ts[row])", new="ts[row]"
    ),
    _keyed("amounts are of approved events", inside="self.approved: Bools", old="== APPROVED", new="!= REFUND"),
    _keyed("declined events are counted", inside="self.counted: Bools", old="!= REFUND", new="== APPROVED"),
    _keyed(
        "a condition on status decides alone",
        inside="def _selected(",
        old='matching if condition.column == "status" else ',
        new="",
    ),
    _keyed(
        "a share is of all events of the window",
        inside="def _share_base(",
        old="self.counted(None)",
        new="self._valued(None)",
    ),
    _engine("a shift is over the longer window", inside="def _compute_shifts(", old="shift.usual", new="shift.recent"),
    _keyed("above is not at least", inside="def matches(", old='"above": column.gt', new='"above": column.ge'),
    _keyed("a key with a missing part is none", inside="def _key_codes(", old="| (more < 0)", new="& (more < 0)"),
    _kernels("a distinct count has a cap", inside="def count_distinct(", old="min(seen, cap)", new="seen"),
    _kernels(
        "a record at t is not known at t",
        inside="def count_labels(",
        old='begins, side="right"',
        new='begins, side="left"',
    ),
    _kernels(
        "a record at t is not known at t", inside="def count_labels(", old="since[span] < t", new="since[span] <= t"
    ),
    _kernels(
        "a reversal takes the fraud back",
        inside="def count_labels(",
        old="min(until[next_span], enters + whole)",
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
_events = partial(Mutant, engine="online", file="features/online/events.py")
_blocks = partial(Mutant, engine="online", file="features/online/blocks.py")
_buckets = partial(Mutant, engine="online", file="features/online/buckets.py")
_label_deltas = partial(Mutant, engine="online", file="features/online/label_deltas.py")
_singles = partial(Mutant, engine="online", file="features/online/single_event_keys.py")
_observe = partial(Mutant, engine="online", file="features/online/observe.py")
_compiler = partial(Mutant, engine="online", file="features/online/plan_compiler.py")
_encoder = partial(Mutant, engine="online", file="features/online/event_encoder.py")
_labels = partial(Mutant, engine="online", file="features/online/labels.py")
_row_features = partial(Mutant, engine="online", file="features/online/row_features.py")

ONLINE = (
    _compiler(
        "a shift is over the longer window",
        inside="isinstance(feature, Shift)",
        old="self._positions[feature.usual]",
        new="self._positions[feature.recent]",
    ),
    _events("a window ends its delay before t", inside="def read(", old='t - window["near"]', new="t"),
    _events(
        "the near edge is not in the window", inside="def read(", old='t - window["near"]', new='t - window["near"] + 1'
    ),
    _events("the far edge is in the window", inside="def read(", old='t - window["far"]', new='t - window["far"] + 1'),
    _events("an event counts once", inside="def read(", old='cell_end = sums[cell["end_slot"]]', new="cell_end = end"),
    _events(
        "a window takes what its aggregate takes",
        inside="def _accumulate_events(",
        old="flags & mask != mask",
        new="False",
    ),
    _events("declined and unlabelled stay unknown", inside="def _accumulate_events(", old="flags & PRESUMED", new="1"),
    _events(
        "the last event is the newest one", inside="def _accumulate_events(", old="if sums[out] == 0:", new="if True:"
    ),
    _events("events stand by time, then arrival", inside="def insert(", old="event[TS] + 1", new="event[TS]"),
    _blocks("events stand by time, then arrival", inside="def lower_bound(", old="last < moment", new="last <= moment"),
    _blocks(
        "the far edge is in the window",
        inside="def lower_bound(",
        old="pool[block + middle * size] < moment",
        new="pool[block + middle * size] <= moment",
    ),
    _blocks(
        "what a late row may see is kept, edge included",
        inside="def count_expired(",
        old='newest - section["retention"]',
        new='newest - section["retention"] + 1',
    ),
    _blocks(
        "what a late row may see is kept, edge included",
        inside="def count_expired(",
        old='newest - section["horizon"]',
        new='newest - section["horizon"] + 1',
    ),
    _blocks("buckets are counted from the epoch", inside="def bucket_start(", old="int(ts //", new="int((ts + 1) //"),
    _buckets(
        "a bucket is closed when t is past it",
        inside="def read(",
        old='blocks.bucket_start(section, t - window["near"])',
        new='t - window["near"]',
    ),
    _buckets(
        "a bucket is seen whole",
        inside="def read(",
        old='blocks.bucket_start(section, t - window["far"])',
        new='t - window["far"]',
    ),
    _buckets(
        "a late event counts in later buckets' sums",
        inside="def insert(",
        old="row + 1 if kind in (MAX, MIN) else count",
        new="row + 1",
    ),
    _buckets("a distinct count has a cap", inside="def _add_code(", old="pool[at] == cap", new="pool[at] == 1"),
    _label_deltas(
        "a record at t is not known at t",
        inside="def read(",
        old="pool[delta + SINCE] < t",
        new="pool[delta + SINCE] <= t",
    ),
    _label_deltas(
        "the far edge is in the window",
        inside="def read(",
        old="far <= pool[delta + EVENT_TS]",
        new="far < pool[delta + EVENT_TS]",
    ),
    _label_deltas(
        "ties do not see each other",
        inside="def read(",
        old="pool[delta + EVENT_TS] < near",
        new="pool[delta + EVENT_TS] <= near",
    ),
    _label_deltas(
        "a late row knows only what was recorded before it",
        inside="def prune(",
        old="newest - horizon",
        new="newest",
    ),
    _observe("ties do not see each other", inside="def observe(", old="event[TS])", new="event[TS] + 1)"),
    _observe(
        "exactly the horizon late is in time", inside="def _find_keys(", old="> plan.horizon", new=">= plan.horizon"
    ),
    _observe(
        "late is against the newest event", inside="def _update_tally(", old="max(pool[key + NEWEST], ts)", new="ts"
    ),
    _observe(
        "too late is not kept",
        inside="def _insert_event(",
        old='key = live[section["step"]]',
        new='key = state.keys[section["step"]]',
    ),
    _observe(
        "late is against the newest event", inside="def _find_record(", old="value >> 1 if known else ts", new="ts"
    ),
    _singles("an event counts once", inside="def load_key_state(", old="int(known) << blocks.CLASS_BITS", new="0"),
    _encoder(
        "amounts are of approved events", inside="def _flags(", old="status == IS_APPROVED", new="status != REFUND"
    ),
    _encoder("declined events are counted", inside="def _flags(", old="status != REFUND", new="status == IS_APPROVED"),
    _encoder("declined and unlabelled stay unknown", inside="def _flags(", old="status != DECLINED and ", new=""),
    _encoder("above is not at least", inside="def _satisfies(", old="value > threshold", new="value >= threshold"),
    _encoder("columns are summed in steps", inside="def _to_steps(", old="float(value)", new="round(float(value), 3)"),
    _labels(
        "the most trusted source decides", inside="def compute_deltas(", old="source: -position", new="source: position"
    ),
    _labels(
        "of equal records the last decides",
        inside="def compute_deltas(",
        old="reported, record.position)",
        new="reported, -record.position)",
    ),
    _labels(
        "a reversal takes the fraud back",
        inside="def compute_deltas(",
        old="record.is_fraud - current[0]",
        new="max(record.is_fraud - current[0], 0)",
    ),
    _row_features(
        "calendar features use the local zone",
        inside="def compute(",
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
"""One mutant of each engine, and one of the shared code."""


def handmade_streams() -> list[Stream]:
    """Streams for mutants that random streams detect too rarely."""
    elsewhere = {"terminal_location": (10.0, 10.0)}
    late_tie = transactions({"at": 1}, {"at": 5}, {"at": 1, **elsewhere}, {"at": 3})
    late_after_x = transactions({"at": 4}, {"at": 8}, {"at": 5})
    at_the_retention_edge = transactions(*({"at": at} for at in (1, 11, 11, 7)))
    steps = transactions(*({"at": at, "risk": 0.00006} for at in range(3)))
    return [(late_tie, []), (late_after_x, [record("0", 8)]), (at_the_retention_edge, []), (steps, [])]


@contextmanager
def prepared_inputs(rows: int = ROWS, examples: int = STREAMS) -> Iterator[Path]:
    """Directory with streams and their correct features."""
    drawn = [*REGRESSIONS.values(), *handmade_streams()]

    @settings(max_examples=examples, derandomize=True, database=None, deadline=None)
    @given(streams())
    def draw(stream):  # type: ignore[no-untyped-def]
        drawn.append(stream)

    draw()
    oracle_streams = [
        (*frames(*stream), as_frame(oracle.features(*stream, CATALOGUE), CATALOGUE)) for stream in drawn if stream[0]
    ]
    catalogue = every_kind.build_catalogue(precedence=adversarial_stream.SOURCES)
    generated = adversarial_stream.generate(catalogue, rows=rows)
    assert compare(generated.transactions, generated.ledger, catalogue).differing_cells == 0
    inputs = {
        "transactions": generated.transactions,
        "ledger": generated.ledger,
        "catalogue": catalogue,
        "features": batch_engine.featurize(generated.transactions, generated.ledger, catalogue).select(catalogue.names),
        "streams": oracle_streams,
        "small_catalogue": CATALOGUE,
    }
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "inputs.pickle").write_bytes(pickle.dumps(inputs))
        yield Path(directory)


def count_wrong_cells(mutant: Mutant, folder: Path) -> dict[str, int]:
    """Count the wrong cells that each check finds in a copy of the package with the change."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        shutil.copytree(ROOT / "fraud3000", copy / "fraud3000", ignore=shutil.ignore_patterns("__pycache__"))
        (copy / "tests").symlink_to(ROOT / "tests")
        path = copy / "fraud3000" / mutant.file
        path.write_text(mutant.applied(path.read_text(encoding="utf-8")), encoding="utf-8")
        command = [sys.executable, "-m", "tests.judge", str(folder), mutant.engine]
        environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "POLARS_MAX_THREADS": "1", "PYTHONPATH": str(copy)}
        process = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if process.returncode:
        raise RuntimeError(f"{mutant.name}: {process.stderr[-2_000:]}")
    counts: dict[str, int] = json.loads(process.stdout)
    return counts


def run_mutants(
    mutants: Iterable[Mutant], *, rows: int = ROWS, examples: int = STREAMS
) -> dict[Mutant, dict[str, int]]:
    """Run the checks on some mutants, two at a time."""
    with prepared_inputs(rows, examples) as folder, ThreadPoolExecutor(2) as pool:
        selected = list(mutants)
        return dict(zip(selected, pool.map(lambda mutant: count_wrong_cells(mutant, folder), selected), strict=True))


HEAD = """# Mutants: errors that the proofs detect

<!-- Made by `python -m tests.mutants`; do not edit. -->

A check that never fails proves little. Each mutant below changes one line of an engine in a copy of the package, so that
it breaks a rule of [time](concepts.md). Parity runs an adversarial stream of {rows} rows through both engines, and the
oracle computes small streams independently; at least one of them must catch each mutant. Only the oracle can catch a
change of code that both engines share, because their results stay equal.

| rule | engine | where | parity | oracle |
|---|---|---|---|---|
"""


def page(verdicts: dict[Mutant, dict[str, int]]) -> str:
    """Render docs/mutants.md: for each mutant, the checks that detect it."""
    lines = [
        f"| {table_cells(mutant)} | {_verdict(by['parity'])} | {_verdict(by['oracle'])} |\n"
        for mutant, by in verdicts.items()
    ]
    return HEAD.format(rows=ROWS) + "".join(lines)


def table_cells(mutant: Mutant) -> str:
    """Render the first columns of a mutant's row."""
    location = Path(mutant.file).stem
    if mutant.inside.startswith("def "):
        location += f".{mutant.inside.removeprefix('def ').rstrip('(')}"
    change = (
        f"`{mutant.old.strip()}` → `{mutant.new.strip()}`" if mutant.new.strip() else f"without `{mutant.old.strip()}`"
    )
    return f"{mutant.rule} | {mutant.engine} | `{location}`: " + change.replace("|", "\\|")


def _verdict(cells: int) -> str:
    return "caught" if cells else "–"


if __name__ == "__main__":
    results = run_mutants(ALL)
    PAGE.write_text(page(results), encoding="utf-8")
    for survivor in (mutant for mutant, by in results.items() if not any(by.values())):
        sys.stderr.write(f"not caught: {survivor.name}\n")
