"""Features by the letter of the time contract, one row against all others: slow, short, the judge."""

import math
from fractions import Fraction

DAY = 86_400_000_000  # microseconds, as all times here


def label(event, records, t, label_delay, precedence=()):
    """1, 0 or None (unknown), as known at t."""
    if t <= event["ts"] + label_delay:
        return None
    rank = {source: -place for place, source in enumerate(precedence)}
    known = [
        (rank.get(r["source"], -math.inf), r["recorded_at"], r["reported_at"] or -math.inf, place, r["is_fraud"])
        for place, r in enumerate(records)
        if r["transaction_id"] == event["transaction_id"] and r["recorded_at"] < t
    ]
    if known:
        return max(known)[-1]
    return 0 if event["labelled"] and event["status"] != "declined" else None


def stored(events, key, late_horizon):
    """The key's events that it keeps, and the ones that came too late for it."""
    newest, kept, late = -math.inf, [], []
    for event in sorted((e for e in events if e["key"] == key), key=lambda e: e["seq"]):
        (late if newest - event["ts"] > late_horizon else kept).append(event)
        newest = max(newest, event["ts"])
    return kept, late


def window(kept, x, length, delay=0):
    return [e for e in kept if x["ts"] - delay - length <= e["ts"] < x["ts"] - delay and e["seq"] < x["seq"]]


def amounts(seen):
    return [e["amount"] for e in seen if e["status"] == "approved"]


def counted(seen):
    return sorted((e for e in seen if e["status"] != "refund"), key=lambda e: (e["ts"], e["seq"]))


def mean(values):
    return float(Fraction(sum(values), len(values))) if values else None


def deviation(values):
    if len(values) < 2:
        return None
    n = len(values)
    return math.sqrt(Fraction(n * sum(v * v for v in values) - sum(values) ** 2, n * (n - 1)))
