"""Windows over rows in key order, swept once from the oldest to the newest: the loops of the batch engine.

A sweep goes through the rows of one key with two hands. An event enters the window of every row later
than `entry + delay` and leaves it after `entry + delay + length`, where its entry is its own time, or the
last microsecond of its bucket. Rows with an earlier event of their key that arrived after them are
`disordered`: what they see is read event by event.

Times are microseconds, places count rows in key order.
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
    """Some keys' rows, in order of (key, ts, seq).

    Attributes
    ----------
    starts
        The first place of each key, then the end of the last.
    target
        Each row's column in `out`; -1 for rows that are only looked back at.
    out
        Shape (features, rows), filled with NaN before.
    """

    starts: Ints
    ts: Ints
    seq: Ints
    disordered: Bools
    target: Ints
    out: Floats


class WindowEdges(NamedTuple):
    """When events enter a window and leave it."""

    entry: Ints
    delay: int
    length: int


class EventColumns(NamedTuple):
    """What a window takes of its events: which it counts, among which, and whose values."""

    counted: Bools
    among: Bools
    valued: Bools
    value: Ints


class OutputSpec(NamedTuple):
    """Features of one window: what each says, and its row in `out`."""

    ops: Ints
    slots: Ints


class LabelSpans(NamedTuple):
    """Spans of time in which a label record speaks: every t with `since < t <= until`.

    Attributes
    ----------
    place
        The event's place, ascending.
    fraud, labelled
        What the span adds to the frauds and to the labelled of a window.
    """

    place: Ints
    since: Ints
    until: Ints
    fraud: Ints
    labelled: Ints


@kernel
def by_key(codes: Ints, keys: int) -> tuple[Ints, Ints]:
    """Rows by key and, within a key, as they stand; and the first place of each key.

    Examples
    --------
    >>> [found.tolist() for found in by_key(np.array([1, 0, -1, 1]), 2)]
    [[1, 0, 3], [0, 1, 3]]
    """
    starts = np.zeros(keys + 1, dtype=np.int64)
    for code in codes:
        if code >= 0:
            starts[code + 1] += 1
    for key in range(keys):
        starts[key + 1] += starts[key]
    free, rows = starts[:-1].copy(), np.empty(starts[keys], dtype=np.int64)
    for row in range(len(codes)):
        code = codes[row]
        if code >= 0:
            rows[free[code]] = row
            free[code] += 1
    return rows, starts


@kernel
def numbered(codes: Ints) -> tuple[Ints, int]:
    """Give numbers from 0 on to whatever whole numbers of 0 and above there are, in order of appearance.

    Examples
    --------
    >>> dense, keys = numbered(np.array([700, -1, 9, 700]))
    >>> dense.tolist(), int(keys)
    ([0, -1, 1, 0], 2)
    """
    bits = 4
    while (1 << bits) < 2 * len(codes):
        bits += 1
    mask = (1 << bits) - 1
    known, number = np.full(1 << bits, -1, dtype=np.int64), np.empty(1 << bits, dtype=np.int64)
    dense, keys = np.empty(len(codes), dtype=np.int64), 0
    for row in range(len(codes)):
        code = codes[row]
        if code < 0:
            dense[row] = -1
            continue
        mixed = ((code & 0x7FFFFFFF) * 1_640_531_527) ^ ((code >> 31) * 668_265_263)
        at = (mixed ^ (mixed >> 29)) & mask
        while known[at] >= 0 and known[at] != code:
            at = (at + 1) & mask
        if known[at] < 0:
            known[at], number[at] = code, keys
            keys += 1
        dense[row] = number[at]
    return dense, keys


@kernel
def leave_late(codes: Ints, keys: int, ts: Ints, arrivals: Ints, horizon: int) -> None:
    """Take the key from rows that came later than the horizon for it; `arrivals` are the rows by seq."""
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
def out_of_order(starts: Ints, ts: Ints, seq: Ints) -> Bools:
    """Which rows have an earlier event of their key that arrived after them."""
    found = np.zeros(len(ts), dtype=np.bool_)
    for key in range(len(starts) - 1):
        newest, newest_before, since = -1, -1, starts[key]
        for place in range(starts[key], starts[key + 1]):
            if ts[place] > ts[since]:
                newest_before, since = newest, place
            found[place] = newest_before > seq[place]
            newest = max(newest, seq[place])
    return found


@kernel
def tallies(line: KeyedRows, hands: WindowEdges, taken: EventColumns, wanted: OutputSpec, unit: float) -> None:
    """Counts, shares, sums, means and ratios of one window."""
    starts, ts, seq, disordered, target, out = line
    counted, among, valued, value = taken
    ops, slots = wanted
    entry, delay, whole = hands.entry, hands.delay, hands.delay + hands.length
    for key in range(len(starts) - 1):
        low = high = starts[key]
        n = n_among = n_valued = up = down = 0
        for place in range(starts[key], starts[key + 1]):
            t = ts[place]
            while entry[high] + delay < t:
                n += counted[high]
                n_among += among[high]
                if valued[high]:
                    n_valued += 1
                    up, down = int124.add(up, down, value[high])
                high += 1
            while low < high and entry[low] + whole < t:
                n -= counted[low]
                n_among -= among[low]
                if valued[low]:
                    n_valued -= 1
                    up, down = int124.add(up, down, -value[low])
                low += 1
            if target[place] < 0:
                continue
            seen, seen_among, seen_valued, sum_up, sum_down = n, n_among, n_valued, up, down
            if disordered[place]:
                seen = seen_among = seen_valued = sum_up = sum_down = 0
                for event in range(low, high):
                    if seq[event] < seq[place]:
                        seen += counted[event]
                        seen_among += among[event]
                        if valued[event]:
                            seen_valued += 1
                            sum_up, sum_down = int124.add(sum_up, sum_down, value[event])
            for feature in range(len(ops)):
                op, told = ops[feature], math.nan
                if op == COUNT:
                    told = float(seen)
                elif op == SHARE:
                    told = formulas.share(seen, seen_among)
                elif op == SUM:
                    told = formulas.total(sum_up, sum_down, unit)
                elif op == MEAN:
                    told = formulas.mean(seen_valued, sum_up, sum_down, unit)
                elif value[place] != formulas.MISSING:
                    told = formulas.ratio(float(value[place]), formulas.mean(seen_valued, sum_up, sum_down, 1.0))
                out[slots[feature], target[place]] = told


@kernel
def spreads(line: KeyedRows, hands: WindowEdges, taken: EventColumns, wanted: OutputSpec, unit: float) -> None:
    """Standard deviations and z-scores of one window."""
    starts, ts, seq, disordered, target, out = line
    valued, value = taken.valued, taken.value
    ops, slots = wanted
    entry, delay, whole = hands.entry, hands.delay, hands.delay + hands.length
    for key in range(len(starts) - 1):
        low = high = starts[key]
        n = up = down = square_up = square_down = 0
        for place in range(starts[key], starts[key + 1]):
            t = ts[place]
            while entry[high] + delay < t:
                if valued[high]:
                    n += 1
                    up, down = int124.add(up, down, value[high])
                    more_up, more_down = int124.square(value[high])
                    square_up, square_down = int124.plus(square_up, square_down, more_up, more_down)
                high += 1
            while low < high and entry[low] + whole < t:
                if valued[low]:
                    n -= 1
                    up, down = int124.add(up, down, -value[low])
                    less_up, less_down = int124.square(value[low])
                    square_up, square_down = int124.minus(square_up, square_down, less_up, less_down)
                low += 1
            if target[place] < 0:
                continue
            seen, sum_up, sum_down, all_up, all_down = n, up, down, square_up, square_down
            if disordered[place]:
                seen = sum_up = sum_down = all_up = all_down = 0
                for event in range(low, high):
                    if seq[event] < seq[place] and valued[event]:
                        seen += 1
                        sum_up, sum_down = int124.add(sum_up, sum_down, value[event])
                        more_up, more_down = int124.square(value[event])
                        all_up, all_down = int124.plus(all_up, all_down, more_up, more_down)
            deviation = formulas.deviation(seen, sum_up, sum_down, all_up, all_down, 1.0)
            for feature in range(len(ops)):
                told = math.nan
                if ops[feature] == STD:
                    told = deviation / unit
                elif value[place] != formulas.MISSING:
                    mean = formulas.mean(seen, sum_up, sum_down, 1.0)
                    told = formulas.zscore(float(value[place]), mean, deviation)
                out[slots[feature], target[place]] = told


@kernel
def extremes(line: KeyedRows, hands: WindowEdges, taken: EventColumns, sign: int, slot: int, unit: float) -> None:
    """The largest value of one window, or the smallest where the sign is -1."""
    starts, ts, seq, disordered, target, out = line
    valued, value = taken.valued, taken.value
    entry, delay, whole = hands.entry, hands.delay, hands.delay + hands.length
    best = np.empty(_longest(starts), dtype=np.int64)  # places of falling value: the first is the window's best
    for key in range(len(starts) - 1):
        low = high = starts[key]
        head = tail = 0
        for place in range(starts[key], starts[key + 1]):
            t = ts[place]
            while entry[high] + delay < t:
                if valued[high]:
                    while tail > head and sign * value[best[tail - 1]] <= sign * value[high]:
                        tail -= 1
                    best[tail] = high
                    tail += 1
                high += 1
            while low < high and entry[low] + whole < t:
                low += 1
            while head < tail and best[head] < low:
                head += 1
            if target[place] < 0:
                continue
            found = best[head] if head < tail else -1
            if disordered[place]:
                found = -1
                for event in range(low, high):
                    if seq[event] < seq[place] and valued[event]:
                        if found < 0 or sign * value[event] > sign * value[found]:
                            found = event
            if found >= 0:
                up, down = int124.add(0, 0, value[found])
                out[slot, target[place]] = formulas.total(up, down, unit)


@kernel
def distincts(line: KeyedRows, hands: WindowEdges, codes: Ints, values: int, cap: int, slot: int) -> None:
    """How many different codes one window holds, at most `cap`; -1 is no code, `values` is how many there are."""
    starts, ts, seq, disordered, target, out = line
    entry, delay, whole = hands.entry, hands.delay, hands.delay + hands.length
    times = np.zeros(values, dtype=np.int64)
    asked = np.full(values if disordered.any() else 0, -1, dtype=np.int64)
    for key in range(len(starts) - 1):
        low = high = starts[key]
        different = 0
        for place in range(starts[key], starts[key + 1]):
            t = ts[place]
            while entry[high] + delay < t:
                if codes[high] >= 0:
                    different += times[codes[high]] == 0
                    times[codes[high]] += 1
                high += 1
            while low < high and entry[low] + whole < t:
                if codes[low] >= 0:
                    times[codes[low]] -= 1
                    different -= times[codes[low]] == 0
                low += 1
            if target[place] < 0:
                continue
            found = different
            if disordered[place]:
                found = 0
                for event in range(low, high):
                    code = codes[event]
                    if code >= 0 and seq[event] < seq[place] and asked[code] != place:
                        asked[code] = place
                        found += 1
            out[slot, target[place]] = float(min(found, cap))
        for event in range(low, high):
            if codes[event] >= 0:
                times[codes[event]] = 0


@kernel
def recencies(
    line: KeyedRows, hands: WindowEdges, counted: Bools, lat: Floats, long: Floats, wanted: OutputSpec
) -> None:
    """What the last event of one window says: how long ago, whether any, how far away, how fast."""
    starts, ts, seq, disordered, target, out = line
    ops, slots = wanted
    entry, delay, whole = hands.entry, hands.delay, hands.delay + hands.length
    for key in range(len(starts) - 1):
        low = high = starts[key]
        last = -1
        for place in range(starts[key], starts[key + 1]):
            t = ts[place]
            while entry[high] + delay < t:
                if counted[high]:
                    last = high
                high += 1
            while low < high and entry[low] + whole < t:
                low += 1
            if target[place] < 0:
                continue
            found = last if last >= low else -1
            if disordered[place]:
                found = high - 1
                while found >= low and not (counted[found] and seq[found] < seq[place]):
                    found -= 1
                if found < low:
                    found = -1
            for feature in range(len(ops)):
                op, told = ops[feature], math.nan
                if op == NOT_SEEN:
                    told = 1.0 if found < 0 else 0.0
                elif found >= 0:
                    elapsed = formulas.seconds(t - ts[found])
                    if op == SINCE:
                        told = elapsed
                    else:
                        metres = formulas.metres(lat[found], long[found], lat[place], long[place])
                        told = metres / 1000 if op == DISTANCE else formulas.speed(metres, elapsed)
                out[slots[feature], target[place]] = told


@kernel
def label_counts(
    line: KeyedRows,
    hands: WindowEdges,
    presumed: Bools,
    spoken: LabelSpans,
    wanted: OutputSpec,
    priors: Floats,
    strengths: Floats,
) -> None:
    """Frauds, labelled and their rates of one window, each label as known at t.

    `presumed` events are labelled by being mature. Each span in which a record speaks is a step up when
    both it and the event's time in the window have begun, and a step down when either ends.
    """
    starts, ts, seq, disordered, target, out = line
    event_of, since, until, is_fraud, adds = spoken
    ops, slots = wanted
    entry, delay, whole = hands.entry, hands.delay, hands.delay + hands.length
    size = _longest(starts) + 1
    fraud_steps, label_steps = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    mark = np.searchsorted(event_of, starts[0])
    for key in range(len(starts) - 1):
        start, end = starts[key], starts[key + 1]
        first = mark
        while mark < len(event_of) and event_of[mark] < end:
            enters = entry[event_of[mark]]
            begins, ends = max(since[mark], enters + delay), min(until[mark], enters + whole)
            if begins < ends:
                times = ts[start:end]
                up, down = np.searchsorted(times, begins, side="right"), np.searchsorted(times, ends, side="right")
                fraud_steps[up] += is_fraud[mark]
                fraud_steps[down] -= is_fraud[mark]
                label_steps[up] += adds[mark]
                label_steps[down] -= adds[mark]
            mark += 1
        low = high = start
        mature = frauds = labelled = 0
        for place in range(start, end):
            t = ts[place]
            frauds += fraud_steps[place - start]
            labelled += label_steps[place - start]
            while entry[high] + delay < t:
                mature += presumed[high]
                high += 1
            while low < high and entry[low] + whole < t:
                mature -= presumed[low]
                low += 1
            if target[place] < 0:
                continue
            found, known = frauds, mature + labelled
            if disordered[place]:
                found = known = 0
                for event in range(low, high):
                    if seq[event] < seq[place]:
                        known += presumed[event]
                for told in range(first, mark):
                    event = event_of[told]
                    if low <= event < high and seq[event] < seq[place]:
                        if since[told] < t <= until[told]:
                            found += is_fraud[told]
                            known += adds[told]
            for feature in range(len(ops)):
                op = ops[feature]
                if op == FRAUDS:
                    value = float(found)
                elif op == LABELLED:
                    value = float(known)
                elif op == RATE:
                    value = formulas.share(found, known)
                else:
                    value = formulas.smoothed(found, known, priors[feature], strengths[feature])
                out[slots[feature], target[place]] = value
        fraud_steps[: end - start + 1] = 0
        label_steps[: end - start + 1] = 0


@kernel
def _longest(starts: Ints) -> int:
    """The most rows that one key has."""
    longest = 0
    for key in range(len(starts) - 1):
        longest = max(longest, starts[key + 1] - starts[key])
    return longest


@kernel
def ratios(values: Floats, means: Floats, found: Floats) -> None:
    """Values as multiples of means, row by row, written to `found`."""
    for row in range(len(values)):
        found[row] = formulas.ratio(values[row], means[row])


@kernel
def distances(lat: Floats, long: Floats, lat_2: Floats, long_2: Floats) -> Floats:
    """Metres between points, row by row."""
    found = np.empty(len(lat))
    for row in range(len(lat)):
        found[row] = formulas.metres(lat[row], long[row], lat_2[row], long_2[row])
    return found
