"""A plan in one array: a kernel that is called for each transaction takes one array of words much sooner than ten tables."""

from __future__ import annotations

import numpy as np

from fraud3000.features.jit import kernel
from fraud3000.features.online.plan import CELL, MEASURE, OPERATION, SECTION, STEP, WINDOW, Ints, Plan


def pack(plan: Plan) -> Ints:
    """The tables one after the other, behind the places where each ends, the horizon, and the most words."""
    *tables, horizon, max_record_slots = plan
    parts = [np.ascontiguousarray(table).view(np.int64).reshape(-1) for table in tables]
    ends = np.cumsum([len(parts) + 2, *(len(part) for part in parts)])[1:]
    return np.concatenate([ends, [horizon, max_record_slots], *parts])


@kernel
def unpack(packed_plan: Ints) -> Plan:
    """The plan again, in the same memory."""
    return Plan(
        steps=packed_plan[10 : packed_plan[0]].view(STEP),
        sections=packed_plan[packed_plan[0] : packed_plan[1]].view(SECTION),
        windows=packed_plan[packed_plan[1] : packed_plan[2]].view(WINDOW),
        cells=packed_plan[packed_plan[2] : packed_plan[3]].view(CELL),
        fields=packed_plan[packed_plan[3] : packed_plan[4]],
        measures=packed_plan[packed_plan[4] : packed_plan[5]].view(MEASURE),
        operations=packed_plan[packed_plan[5] : packed_plan[6]].view(OPERATION),
        empty=packed_plan[packed_plan[6] : packed_plan[7]],
        horizon=packed_plan[8],
        max_record_slots=packed_plan[9],
    )
