"""The memory of the online engine: blocks are given out, given back and taken again."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud3000.features.online import memory_pool

classes = st.integers(0, 14)


def pool_of(words):
    pool = np.zeros(words, np.int64)
    pool[memory_pool.END] = memory_pool.FIRST
    return pool


def free_words(pool):
    found = 0
    for class_ in range(memory_pool.CLASSES):
        at = pool[memory_pool.FREE + class_]
        while at:
            found, at = found + memory_pool.size_of(class_), pool[at]
    return found


def test_blocks_are_two_three_four_six_words_and_so_on():
    assert [memory_pool.size_of(class_) for class_ in range(8)] == [2, 3, 4, 6, 8, 12, 16, 24]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.one_of(classes, st.integers(-20, -1)), max_size=60))
def test_no_two_blocks_share_a_word_and_none_is_lost(asked):
    """A number is a class to take, or says which of the blocks is given back."""
    pool, held = pool_of(1 << 15), []
    for number in asked:
        if number >= 0:
            held.append((memory_pool.allocate(pool, 2, number), number))
        elif held:
            at, class_ = held.pop(number % len(held))
            memory_pool.free(pool, 2, class_, at)
    taken = sorted((at, at + memory_pool.size_of(class_)) for at, class_ in held)
    assert all(end <= start for (_, end), (start, _) in pairwise(taken))
    assert all(start >= memory_pool.FIRST and end <= pool[memory_pool.END] for start, end in taken)
    in_use = sum(end - start for start, end in taken)
    assert pool[memory_pool.USED + 2] == in_use
    assert free_words(pool) + in_use == pool[memory_pool.END] - memory_pool.FIRST


def test_a_large_block_serves_small_ones():
    pool = pool_of(1 << 15)
    memory_pool.free(pool, 2, 12, memory_pool.allocate(pool, 2, 12))
    end = pool[memory_pool.END]
    assert len({memory_pool.allocate(pool, 2, 2) for _ in range(32)}) == 32
    assert pool[memory_pool.END] == end
