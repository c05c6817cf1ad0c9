"""Limit BLAS to one thread for reproducible sums."""

from __future__ import annotations

from contextlib import AbstractContextManager

from threadpoolctl import threadpool_limits


def single_blas_thread() -> AbstractContextManager[object]:
    """Limit linear algebra to one thread in the block.

    BLAS splits sums among its threads, so the last digits, and the result of a solver, would otherwise depend on the
    number of processors.
    """
    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits
