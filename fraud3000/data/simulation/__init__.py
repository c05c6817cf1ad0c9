"""Simulated card transactions, in integers only, so that every platform generates the same bytes.

Start with `simulate.py`; `world.py` has the cards and terminals, `scenarios.py` the frauds.
"""
