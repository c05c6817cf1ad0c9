"""Checks of the engines: batch equals online in every bit, and no feature depends on the future.

Start with `parity.py`; `leaks.py` perturbs the future, `adversarial_stream.py` generates the hardest input.
"""
