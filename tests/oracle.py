"""Oracle: reference implementation of every feature, one row against all others; slow and short, it checks both engines.

Times are integer microseconds since the epoch, transactions and label records are plain dicts. It uses nothing of the
package except the parser of durations.
"""

import math
import operator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from fraud3000 import durations

SECOND = 1_000_000
VALUE_AGGREGATES = {"sum", "mean", "max", "min", "std", "ratio", "zscore"}


def features(transactions, records, catalogue):
    """Compute one dict of feature values per transaction; None if a value is undefined."""
    by_key = {f.keys: stored(transactions, f.keys, catalogue) for f in catalogue.features if hasattr(f, "keys")}
    return [{f.name: value(f, x, by_key, records, catalogue) for f in catalogue.features} for x in transactions]


def value(f, x, by_key, records, catalogue):
    kind = type(f).__name__
    if not hasattr(f, "keys"):
        return {"Column": column, "Calendar": calendar, "FromHome": from_home}[kind](f, x, catalogue)
    stored_events = by_key[f.keys]
    if x["seq"] not in {e["seq"] for e in stored_events}:  # a part of the key is null, or x arrived too late for it
        return None
    seen = events_in_window(f, x, stored_events)
    if kind == "LabelWindow":
        return labels(f, [label(e, records, x["ts"], catalogue) for e in selected(f, seen)])
    if kind in {"SinceLast", "NotSeen", "FromLast"}:
        return recency(f, kind, x, selected(f, seen))
    if kind == "Shift":
        longer = replace(f, length=f.over, agg="mean")
        usual = value_aggregate(longer, x, selected(longer, events_in_window(longer, x, stored_events)))
        recent = value_aggregate(f, x, selected(f, seen))
        return recent / usual if recent is not None and usual is not None and usual > 0 else None
    return value_aggregate(f, x, selected(f, seen)) if aggregate(f) in VALUE_AGGREGATES else event_aggregate(f, seen)


# selection of events


def stored(transactions, keys, catalogue):
    """Events that are stored for their keys: those with a key that did not arrive too late for it."""
    newest, accepted = {}, []
    for e in sorted(transactions, key=lambda e: e["seq"]):
        key = tuple(e[name] for name in keys)
        if None not in key and newest.get(key, e["ts"]) - e["ts"] <= catalogue.late_horizon * SECOND:
            accepted.append(e)
            newest[key] = max(newest.get(key, e["ts"]), e["ts"])
    return accepted


def events_in_window(f, x, stored_events):
    """Events of x's key in the window, by (ts, seq)."""
    delay, length, bucket = (durations.seconds(text or "0s") * SECOND for text in (f.delay, f.length, f.bucket))
    floor = (lambda t: t // bucket * bucket) if bucket else (lambda t: t)
    first, end = floor(x["ts"] - delay - length), floor(x["ts"] - delay)
    own = [e for e in stored_events if all(e[name] == x[name] for name in f.keys) and e["seq"] < x["seq"]]
    return sorted((e for e in own if first <= e["ts"] < end), key=lambda e: (e["ts"], e["seq"]))


def selected(f, seen):
    """Events of a window that the feature includes."""
    return [e for e in with_status(f, seen) if f.where is None or satisfies(f.where, e)]


def with_status(f, seen):
    if f.where is not None and f.where.column == "status":
        return seen
    statuses = {"approved"} if aggregate(f) in VALUE_AGGREGATES else {"approved", "declined"}
    return [e for e in seen if e["status"] in statuses]


def satisfies(where, e):
    value, threshold = e[where.column], where.values[0]
    if value is None:
        return False
    if where.how == "is":
        return value in where.values
    compare = {"above": operator.gt, "at_least": operator.ge, "below": operator.lt, "at_most": operator.le}
    return compare[where.how](value, threshold)


def label(e, records, t, catalogue):
    """Label as known at t: 1, 0 or None (unknown)."""
    if t <= e["ts"] + catalogue.label_delay * SECOND:
        return None
    known = [r for r in records if r["transaction_id"] == e["transaction_id"] and r["recorded_at"] < t]
    if known:
        trust = {source: -position for position, source in enumerate(catalogue.precedence)}
        reported = lambda r: -math.inf if r["reported_at"] is None else r["reported_at"]  # noqa: E731
        strength = lambda r: (trust.get(r["source"], -math.inf), r["recorded_at"], reported(r))  # noqa: E731
        return max(reversed(known), key=strength)["is_fraud"]  # the last of equally strong records
    return 0 if e["labelled"] and e["status"] != "declined" else None


# aggregates


def aggregate(f):
    return getattr(f, "agg", None) or getattr(f, "how", None)


def event_aggregate(f, seen):
    own = selected(f, seen)
    if f.agg == "share":
        return len(own) / len(with_status(f, seen)) if with_status(f, seen) else None
    if f.agg == "distinct":
        return float(min(len({e[f.column] for e in own} - {None}), f.cap))
    return float(len(own))


def value_aggregate(f, x, own):
    agg, unit = aggregate(f), 1.0 if f.column == "amount" else 10_000.0
    numbers = [number for e in own if (number := as_integer(f.column, e)) is not None]
    if agg == "sum":
        return float(sum(numbers)) / unit
    if agg in {"max", "min"}:
        return float({"max": max, "min": min}[agg](numbers)) / unit if numbers else None
    if agg in {"mean", "std"}:
        result = {"mean": mean, "std": deviation}[agg](numbers)
        return None if result is None else result / unit
    middle, spread, current = mean(numbers), deviation(numbers), as_integer(f.column, x)
    if current is None or middle is None:
        return None
    if agg == "ratio":
        return current / middle if middle > 0 else None
    return (current - middle) / spread if spread else None


def as_integer(name, e):
    """Value as an integer: minor units, or steps of 1/10,000; None if it is missing or its absolute value is above 10^9."""
    if name == "amount":
        return e[name]
    if e[name] is None or math.isnan(e[name]) or abs(e[name] * 10_000.0) > 1e13:
        return None
    return round(e[name] * 10_000.0)


def mean(numbers):
    return float(sum(numbers)) / float(len(numbers)) if numbers else None


def deviation(numbers):
    n, squares = len(numbers), sum(number**2 for number in numbers)
    if n < 2 or n * squares >= 2**123:
        return None
    return math.sqrt(float(n * squares - sum(numbers) ** 2) / (float(n) * float(n - 1)))


def labels(f, known):
    frauds, labelled = known.count(1), known.count(1) + known.count(0)
    if f.agg == "smoothed":
        return (frauds + f.prior * f.strength) / (labelled + f.strength)
    if f.agg == "rate":
        return frauds / labelled if labelled else None
    return float({"frauds": frauds, "labelled": labelled}[f.agg])


def recency(f, kind, x, own):
    if kind == "NotSeen":
        return not own
    if not own:
        return None
    seconds = float(x["ts"] - own[-1]["ts"]) / 1e6
    if kind == "SinceLast":
        return seconds
    metres = distance(*(e[name] for e in (own[-1], x) for name in ("terminal_lat", "terminal_long")))
    if metres is None:
        return None
    return metres / 1000.0 if f.how == "distance" else metres * 3.6 / seconds


def distance(*degrees):
    """Great-circle distance in whole metres between two points, by the haversine formula."""
    if any(degree is None or math.isnan(degree) for degree in degrees):
        return None
    lat_1, long_1, lat_2, long_2 = degrees
    phi_1, phi_2 = math.radians(lat_1), math.radians(lat_2)
    half = lambda angle: math.sin(angle / 2) * math.sin(angle / 2)  # noqa: E731
    chord = half(phi_2 - phi_1) + math.cos(phi_1) * math.cos(phi_2) * half(math.radians(long_2 - long_1))
    return float(math.floor(2 * 6_371_008.8 * math.asin(math.sqrt(min(chord, 1.0))) + 0.5))


# features of the row itself


def column(f, x, catalogue):
    value = x[f.column]
    if f.categorical or value is None:
        return value
    return None if math.isnan(value) else float(value)


def calendar(f, x, catalogue):
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=x["ts"])).astimezone(ZoneInfo(catalogue.zone))
    hour, weekday = local.hour, local.weekday()
    return {"hour": float(hour), "weekday": float(weekday), "night": hour <= 6, "weekend": weekday >= 5}[f.part]


def from_home(f, x, catalogue):
    metres = distance(*(x[name] for name in ("card_lat", "card_long", "terminal_lat", "terminal_long")))
    return None if metres is None else metres / 1000.0
