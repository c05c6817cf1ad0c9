"""Compiled loops of the batch engine: two-pointer sliding windows over the rows of one key, from oldest to newest.

::

    rows of one key by (ts, seq):   0   1   2   3   4   5   6   7   8
                                            ^           ^       ^
                                            left        right   row
                                            |- window --|

For each `row` at t, `right` moves past every event with `entry + delay < t`, which adds the event to the running
counts and sums; `left` moves past every event with `entry + delay + length < t`, which subtracts it. `entry` is the
event's own time, or the last microsecond of its bucket. Each event is added and subtracted once, so a sweep is linear
in the number of rows.

Rows with an earlier event of their key that arrived after them are `disordered`: their window may hold events
that they must not see, so it is read event by event, by `seq`.

Times are in microseconds; rows are numbered in key order.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraud3000.features import formulas, int124
from fraud3000.features.jit import kernel

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

COUNT, SHARE, SUM, MEAN, RATIO = range(5)
STD, ZSCORE = range(2)
SINCE, NOT_SEEN, DISTANCE, SPEED = range(4)
FRAUDS, LABELLED, RATE, SMOOTHED = range(4)


class KeyedRows(NamedTuple):
    """Rows of a block of keys, in order of (key, ts, seq).

    Attributes
    ----------
    starts
        First row of each key, then the end of the last key.
    target
        Column of each row in `out`; -1 for rows that serve only as history.
    out
        Results, shape (features, rows); NaN until computed.
    """

    starts: Ints
    ts: Ints
    seq: Ints
    disordered: Bools
    target: Ints
    out: Floats


class WindowEdges(NamedTuple):
    """Entry time of each event, and the delay and length of a window."""

    entry: Ints
    delay: int
    length: int


class EventColumns(NamedTuple):
    """Events that a window counts, events in the denominator of its share, events whose value it aggregates, and values."""

    counted: Bools
    base: Bools
    valued: Bools
    value: Ints


class OutputSpec(NamedTuple):
    """Features of one window: the operation of each, and its row in `out`."""

    ops: Ints
    slots: Ints


class LabelSpans(NamedTuple):
    """Spans of time in which a label record decides: every t with `since < t <= until`.

    Attributes
    ----------
    row
        Row of the event, ascending.
    fraud, labelled
        Amounts that the span adds to the number of frauds and of labelled events in a window.
    """

    row: Ints
    since: Ints
    until: Ints
    fraud: Ints
    labelled: Ints


@kernel
def group_by_key(codes: Ints, keys: int) -> tuple[Ints, Ints]:
    """Stable counting sort of rows by key: returns the rows, and the start of each key.

    Examples
    --------
    >>> [array.tolist() for array in group_by_key(np.array([1, 0, -1, 1]), 2)]
    [[1, 0, 3], [0, 1, 3]]
    """
    starts = np.zeros(keys + 1, dtype=np.int64)
    for code in codes:
        if code >= 0:
            starts[code + 1] += 1
    for key in range(keys):
        starts[key + 1] += starts[key]
    next_slot, rows = starts[:-1].copy(), np.empty(starts[keys], dtype=np.int64)
    for row in range(len(codes)):
        code = codes[row]
        if code >= 0:
            rows[next_slot[code]] = row
            next_slot[code] += 1
    return rows, starts


@kernel
def dense_codes(codes: Ints) -> tuple[Ints, int]:
    """Replace non-negative codes by consecutive ones, in order of first appearance; returns them and their number.

    Examples
    --------
    >>> dense, keys = dense_codes(np.array([700, -1, 9, 700]))
    >>> dense.tolist(), int(keys)
    ([0, -1, 1, 0], 2)
    """
    bits = 4
    while (1 << bits) < 2 * len(codes):
        bits += 1
    mask = (1 << bits) - 1
    codes_in, code_of = np.full(1 << bits, -1, dtype=np.int64), np.empty(1 << bits, dtype=np.int64)
    dense, keys = np.empty(len(codes), dtype=np.int64), 0
    for row in range(len(codes)):
        code = codes[row]
        if code < 0:
            dense[row] = -1
            continue
        hashed = ((code & 0x7FFFFFFF) * 1_640_531_527) ^ ((code >> 31) * 668_265_263)
        slot = (hashed ^ (hashed >> 29)) & mask
        while codes_in[slot] >= 0 and codes_in[slot] != code:
            slot = (slot + 1) & mask
        if codes_in[slot] < 0:
            codes_in[slot], code_of[slot] = code, keys
            keys += 1
        dense[row] = code_of[slot]
    return dense, keys


@kernel
def drop_late_keys(codes: Ints, keys: int, ts: Ints, arrivals: Ints, horizon: int) -> None:
    """Set the code of rows that arrived beyond the late horizon of their key to -1; `arrivals` are the rows by seq."""
    newest = np.full(keys, np.iinfo(np.int64).min, dtype=np.int64)
    for row in arrivals:
        key = codes[row]
        if key < 0:
            continue
        if ts[row] + horizon < newest[key]:
            codes[row] = -1
        else:
            newest[key] = max(newest[key], ts[row])


@kernel
def find_disordered(starts: Ints, ts: Ints, seq: Ints) -> Bools:
    """True for rows with an earlier event of their key that arrived after them."""
    disordered = np.zeros(len(ts), dtype=np.bool_)
    for key in range(len(starts) - 1):
        newest_seq, newest_earlier_seq, tie_start = -1, -1, starts[key]
        for row in range(starts[key], starts[key + 1]):
            if ts[row] > ts[tie_start]:
                newest_earlier_seq, tie_start = newest_seq, row
            disordered[row] = newest_earlier_seq > seq[row]
            newest_seq = max(newest_seq, seq[row])
    return disordered


@kernel
def count_and_sum(rows: KeyedRows, edges: WindowEdges, events: EventColumns, outputs: OutputSpec, unit: float) -> None:
    """Compute counts, shares, sums, means and ratios of one window."""
    starts, ts, seq, disordered, target, out = rows
    counted, base, valued, value = events
    ops, slots = outputs
    entry, delay, whole = edges.entry, edges.delay, edges.delay + edges.length
    for key in range(len(starts) - 1):
        left = right = starts[key]
        count = base_count = value_count = high = low = 0
        for row in range(starts[key], starts[key + 1]):
            t = ts[row]
            while entry[right] + delay < t:
                count += counted[right]
                base_count += base[right]
                if valued[right]:
                    value_count += 1
                    high, low = int124.add(high, low, value[right])
                right += 1
            while left < right and entry[left] + whole < t:
                count -= counted[left]
                base_count -= base[left]
                if valued[left]:
                    value_count -= 1
                    high, low = int124.add(high, low, -value[left])
                left += 1
            if target[row] < 0:
                continue
            seen, seen_base, seen_values, sum_high, sum_low = count, base_count, value_count, high, low
            if disordered[row]:
                seen = seen_base = seen_values = sum_high = sum_low = 0
                for event in range(left, right):
                    if seq[event] < seq[row]:
                        seen += counted[event]
                        seen_base += base[event]
                        if valued[event]:
                            seen_values += 1
                            sum_high, sum_low = int124.add(sum_high, sum_low, value[event])
            for feature in range(len(ops)):
                op, result = ops[feature], math.nan
                if op == COUNT:
                    result = float(seen)
                elif op == SHARE:
                    result = formulas.share(seen, seen_base)
                elif op == SUM:
                    result = formulas.total(sum_high, sum_low, unit)
                elif op == MEAN:
                    result = formulas.mean(seen_values, sum_high, sum_low, unit)
                elif value[row] != formulas.MISSING:
                    result = formulas.ratio(float(value[row]), formulas.mean(seen_values, sum_high, sum_low, 1.0))
                out[slots[feature], target[row]] = result


@kernel
def compute_deviations(
    rows: KeyedRows, edges: WindowEdges, events: EventColumns, outputs: OutputSpec, unit: float
) -> None:
    """Compute standard deviations and z-scores of one window."""
    starts, ts, seq, disordered, target, out = rows
    valued, value = events.valued, events.value
    ops, slots = outputs
    entry, delay, whole = edges.entry, edges.delay, edges.delay + edges.length
    for key in range(len(starts) - 1):
        left = right = starts[key]
        count = high = low = squares_high = squares_low = 0
        for row in range(starts[key], starts[key + 1]):
            t = ts[row]
            while entry[right] + delay < t:
                if valued[right]:
                    count += 1
                    high, low = int124.add(high, low, value[right])
                    square_high, square_low = int124.square(value[right])
                    squares_high, squares_low = int124.plus(squares_high, squares_low, square_high, square_low)
                right += 1
            while left < right and entry[left] + whole < t:
                if valued[left]:
                    count -= 1
                    high, low = int124.add(high, low, -value[left])
                    square_high, square_low = int124.square(value[left])
                    squares_high, squares_low = int124.minus(squares_high, squares_low, square_high, square_low)
                left += 1
            if target[row] < 0:
                continue
            seen, sum_high, sum_low, sum_squares_high, sum_squares_low = count, high, low, squares_high, squares_low
            if disordered[row]:
                seen = sum_high = sum_low = sum_squares_high = sum_squares_low = 0
                for event in range(left, right):
                    if seq[event] < seq[row] and valued[event]:
                        seen += 1
                        sum_high, sum_low = int124.add(sum_high, sum_low, value[event])
                        square_high, square_low = int124.square(value[event])
                        sum_squares_high, sum_squares_low = int124.plus(
                            sum_squares_high, sum_squares_low, square_high, square_low
                        )
            deviation = formulas.deviation(seen, sum_high, sum_low, sum_squares_high, sum_squares_low, 1.0)
            for feature in range(len(ops)):
                result = math.nan
                if ops[feature] == STD:
                    result = deviation / unit
                elif value[row] != formulas.MISSING:
                    mean = formulas.mean(seen, sum_high, sum_low, 1.0)
                    result = formulas.zscore(float(value[row]), mean, deviation)
                out[slots[feature], target[row]] = result


@kernel
def find_extremes(rows: KeyedRows, edges: WindowEdges, events: EventColumns, sign: int, slot: int, unit: float) -> None:
    """Find the largest value of one window, or the smallest if the sign is -1, with a monotonic queue."""
    starts, ts, seq, disordered, target, out = rows
    valued, value = events.valued, events.value
    entry, delay, whole = edges.entry, edges.delay, edges.delay + edges.length
    candidates = np.empty(_largest_group(starts), dtype=np.int64)  # rows of falling value; the first is the best
    for key in range(len(starts) - 1):
        left = right = starts[key]
        head = tail = 0
        for row in range(starts[key], starts[key + 1]):
            t = ts[row]
            while entry[right] + delay < t:
                if valued[right]:
                    while tail > head and sign * value[candidates[tail - 1]] <= sign * value[right]:
                        tail -= 1
                    candidates[tail] = right
                    tail += 1
                right += 1
            while left < right and entry[left] + whole < t:
                left += 1
            while head < tail and candidates[head] < left:
                head += 1
            if target[row] < 0:
                continue
            best_row = candidates[head] if head < tail else -1
            if disordered[row]:
                best_row = -1
                for event in range(left, right):
                    if seq[event] < seq[row] and valued[event]:
                        if best_row < 0 or sign * value[event] > sign * value[best_row]:
                            best_row = event
            if best_row >= 0:
                high, low = int124.add(0, 0, value[best_row])
                out[slot, target[row]] = formulas.total(high, low, unit)


@kernel
def count_distinct(rows: KeyedRows, edges: WindowEdges, codes: Ints, values: int, cap: int, slot: int) -> None:
    """Count the different codes in one window, up to `cap`; code -1 is ignored, `values` is the number of codes."""
    starts, ts, seq, disordered, target, out = rows
    entry, delay, whole = edges.entry, edges.delay, edges.delay + edges.length
    occurrences = np.zeros(values, dtype=np.int64)
    last_row_of = np.full(values if disordered.any() else 0, -1, dtype=np.int64)
    for key in range(len(starts) - 1):
        left = right = starts[key]
        distinct = 0
        for row in range(starts[key], starts[key + 1]):
            t = ts[row]
            while entry[right] + delay < t:
                if codes[right] >= 0:
                    distinct += occurrences[codes[right]] == 0
                    occurrences[codes[right]] += 1
                right += 1
            while left < right and entry[left] + whole < t:
                if codes[left] >= 0:
                    occurrences[codes[left]] -= 1
                    distinct -= occurrences[codes[left]] == 0
                left += 1
            if target[row] < 0:
                continue
            seen = distinct
            if disordered[row]:
                seen = 0
                for event in range(left, right):
                    code = codes[event]
                    if code >= 0 and seq[event] < seq[row] and last_row_of[code] != row:
                        last_row_of[code] = row
                        seen += 1
            out[slot, target[row]] = float(min(seen, cap))
        for event in range(left, right):
            if codes[event] >= 0:
                occurrences[codes[event]] = 0


@kernel
def compute_recency(
    rows: KeyedRows, edges: WindowEdges, counted: Bools, lat: Floats, long: Floats, outputs: OutputSpec
) -> None:
    """Compute time, distance and speed since the last event of one window, or whether it has none."""
    starts, ts, seq, disordered, target, out = rows
    ops, slots = outputs
    entry, delay, whole = edges.entry, edges.delay, edges.delay + edges.length
    for key in range(len(starts) - 1):
        left = right = starts[key]
        last = -1
        for row in range(starts[key], starts[key + 1]):
            t = ts[row]
            while entry[right] + delay < t:
                if counted[right]:
                    last = right
                right += 1
            while left < right and entry[left] + whole < t:
                left += 1
            if target[row] < 0:
                continue
            seen = last if last >= left else -1
            if disordered[row]:
                seen = right - 1
                while seen >= left and not (counted[seen] and seq[seen] < seq[row]):
                    seen -= 1
                if seen < left:
                    seen = -1
            for feature in range(len(ops)):
                op, result = ops[feature], math.nan
                if op == NOT_SEEN:
                    result = 1.0 if seen < 0 else 0.0
                elif seen >= 0:
                    elapsed = formulas.seconds(t - ts[seen])
                    if op == SINCE:
                        result = elapsed
                    else:
                        metres = formulas.metres(lat[seen], long[seen], lat[row], long[row])
                        result = metres / 1000 if op == DISTANCE else formulas.speed(metres, elapsed)
                out[slots[feature], target[row]] = result


@kernel
def count_labels(
    rows: KeyedRows,
    edges: WindowEdges,
    presumed: Bools,
    spans: LabelSpans,
    outputs: OutputSpec,
    priors: Floats,
    strengths: Floats,
) -> None:
    """Count frauds and labelled events of one window and their rates, each label as known at t.

    `presumed` events are labelled once they are mature. Each span in which a record decides is a step up at the row
    where both the span and the event's time in the window have begun, and a step down at the row where either ends.
    """
    starts, ts, seq, disordered, target, out = rows
    span_row, since, until, is_fraud, span_labelled = spans
    ops, slots = outputs
    entry, delay, whole = edges.entry, edges.delay, edges.delay + edges.length
    size = _largest_group(starts) + 1
    fraud_steps, label_steps = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    next_span = np.searchsorted(span_row, starts[0])
    for key in range(len(starts) - 1):
        key_start, key_end = starts[key], starts[key + 1]
        first_span = next_span
        while next_span < len(span_row) and span_row[next_span] < key_end:
            enters = entry[span_row[next_span]]
            begins, ends = max(since[next_span], enters + delay), min(until[next_span], enters + whole)
            if begins < ends:
                times = ts[key_start:key_end]
                step_up, step_down = (
                    np.searchsorted(times, begins, side="right"),
                    np.searchsorted(times, ends, side="right"),
                )
                fraud_steps[step_up] += is_fraud[next_span]
                fraud_steps[step_down] -= is_fraud[next_span]
                label_steps[step_up] += span_labelled[next_span]
                label_steps[step_down] -= span_labelled[next_span]
            next_span += 1
        left = right = key_start
        mature = frauds = labelled = 0
        for row in range(key_start, key_end):
            t = ts[row]
            frauds += fraud_steps[row - key_start]
            labelled += label_steps[row - key_start]
            while entry[right] + delay < t:
                mature += presumed[right]
                right += 1
            while left < right and entry[left] + whole < t:
                mature -= presumed[left]
                left += 1
            if target[row] < 0:
                continue
            seen_frauds, seen_labelled = frauds, mature + labelled
            if disordered[row]:
                seen_frauds = seen_labelled = 0
                for event in range(left, right):
                    if seq[event] < seq[row]:
                        seen_labelled += presumed[event]
                for span in range(first_span, next_span):
                    event = span_row[span]
                    if left <= event < right and seq[event] < seq[row]:
                        if since[span] < t <= until[span]:
                            seen_frauds += is_fraud[span]
                            seen_labelled += span_labelled[span]
            for feature in range(len(ops)):
                op = ops[feature]
                if op == FRAUDS:
                    result = float(seen_frauds)
                elif op == LABELLED:
                    result = float(seen_labelled)
                elif op == RATE:
                    result = formulas.share(seen_frauds, seen_labelled)
                else:
                    result = formulas.smoothed(seen_frauds, seen_labelled, priors[feature], strengths[feature])
                out[slots[feature], target[row]] = result
        fraud_steps[: key_end - key_start + 1] = 0
        label_steps[: key_end - key_start + 1] = 0


@kernel
def _largest_group(starts: Ints) -> int:
    """Largest number of rows of one key."""
    longest = 0
    for key in range(len(starts) - 1):
        longest = max(longest, starts[key + 1] - starts[key])
    return longest


@kernel
def compute_ratios(values: Floats, means: Floats, out: Floats) -> None:
    """Write the ratio of value to mean of each row to `out`."""
    for row in range(len(values)):
        out[row] = formulas.ratio(values[row], means[row])


@kernel
def compute_distances(lat: Floats, long: Floats, lat_2: Floats, long_2: Floats) -> Floats:
    """Distance between two points in metres, row by row."""
    metres = np.empty(len(lat))
    for row in range(len(lat)):
        metres[row] = formulas.metres(lat[row], long[row], lat_2[row], long_2[row])
    return metres
