"""The memory pool of the online engine: blocks are allocated, freed and reused."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud3000.features.online import memory_pool

classes = st.integers(0, 14)


def new_pool(slots):
    pool = np.zeros(slots, np.int64)
    pool[memory_pool.END] = memory_pool.FIRST
    return pool


def free_slots(pool):
    total = 0
    for class_ in range(memory_pool.CLASSES):
        address = pool[memory_pool.FREE + class_]
        while address:
            total, address = total + memory_pool.size_of(class_), pool[address]
    return total


def test_blocks_have_two_three_four_six_slots_and_so_on():
    assert [memory_pool.size_of(class_) for class_ in range(8)] == [2, 3, 4, 6, 8, 12, 16, 24]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.one_of(classes, st.integers(-20, -1)), max_size=60))
def test_blocks_do_not_overlap_and_no_slot_is_lost(operations):
    """A number is a size class to allocate, or, if negative, selects a block to free."""
    pool, allocated = new_pool(1 << 15), []
    for number in operations:
        if number >= 0:
            allocated.append((memory_pool.allocate(pool, 2, number), number))
        elif allocated:
            address, class_ = allocated.pop(number % len(allocated))
            memory_pool.free(pool, 2, class_, address)
    taken = sorted((address, address + memory_pool.size_of(class_)) for address, class_ in allocated)
    assert all(end <= start for (_, end), (start, _) in pairwise(taken))
    assert all(start >= memory_pool.FIRST and end <= pool[memory_pool.END] for start, end in taken)
    in_use = sum(end - start for start, end in taken)
    assert pool[memory_pool.USED + 2] == in_use
    assert free_slots(pool) + in_use == pool[memory_pool.END] - memory_pool.FIRST


def test_a_large_block_serves_small_ones():
    pool = new_pool(1 << 15)
    memory_pool.free(pool, 2, 12, memory_pool.allocate(pool, 2, 12))
    end = pool[memory_pool.END]
    assert len({memory_pool.allocate(pool, 2, 2) for _ in range(32)}) == 32
    assert pool[memory_pool.END] == end
