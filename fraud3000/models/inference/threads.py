"""Sums that are the same wherever they are made."""

from __future__ import annotations

from contextlib import AbstractContextManager

from threadpoolctl import threadpool_limits


def single_blas_thread() -> AbstractContextManager[object]:
    """Let linear algebra use one thread in the block.

    It cuts sums among its threads, so that the last digits, and what a solver makes of them, would hang on how many
    processors a machine has.
    """
    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits
