"""Batch engine: the features of many transactions at once.

Start with `batch_engine.py`; `window_kernels.py` has the compiled two-pointer loops.
"""
