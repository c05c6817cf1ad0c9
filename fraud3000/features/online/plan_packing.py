"""A plan in one array: a kernel that is called for each transaction takes one array of words much sooner than ten tables."""

from __future__ import annotations

import numpy as np

from fraud3000.features.jit import kernel
from fraud3000.features.online.plan import CELL, MEASURE, OPERATION, SECTION, STEP, WINDOW, Ints, Plan


def packed(plan: Plan) -> Ints:
    """The tables one after the other, behind the places where each ends, the horizon, and the most words."""
    *tables, horizon, most = plan
    parts = [np.ascontiguousarray(table).view(np.int64).reshape(-1) for table in tables]
    ends = np.cumsum([len(parts) + 2, *(len(part) for part in parts)])[1:]
    return np.concatenate([ends, [horizon, most], *parts])


@kernel
def unpacked(words: Ints) -> Plan:
    """The plan again, in the same memory."""
    return Plan(
        steps=words[10 : words[0]].view(STEP),
        sections=words[words[0] : words[1]].view(SECTION),
        windows=words[words[1] : words[2]].view(WINDOW),
        cells=words[words[2] : words[3]].view(CELL),
        fields=words[words[3] : words[4]],
        measures=words[words[4] : words[5]].view(MEASURE),
        operations=words[words[5] : words[6]].view(OPERATION),
        empty=words[words[6] : words[7]],
        horizon=words[8],
        most=words[9],
    )
