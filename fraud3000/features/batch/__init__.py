"""Batch engine: the features of many transactions at once.

Start with `batch_engine.py`. `keyed_events.py` prepares the arrays of one key, `window_sweeps.py` chooses the kernel for each
window, and `window_kernels.py` has the compiled two-pointer loops.
"""
