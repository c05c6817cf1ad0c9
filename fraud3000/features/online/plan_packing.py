"""Packs a plan into one int64 array, because passing one array to a kernel is much faster than passing ten tables."""

from __future__ import annotations

import numpy as np

from fraud3000.features.jit import kernel
from fraud3000.features.online.plan import CELL, MEASURE, OPERATION, SECTION, STEP, WINDOW, Ints, Plan


def pack(plan: Plan) -> Ints:
    """Concatenate the end of each table, the horizon, `max_record_slots`, and the tables."""
    *tables, horizon, max_record_slots = plan
    parts = [np.ascontiguousarray(table).view(np.int64).reshape(-1) for table in tables]
    ends = np.cumsum([len(parts) + 2, *(len(part) for part in parts)])[1:]
    return np.concatenate([ends, [horizon, max_record_slots], *parts])


@kernel
def unpack(packed_plan: Ints) -> Plan:
    """Return the plan as views of the packed array."""
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
