"""Simulated card transactions, computed with integers only, so that every platform generates the same bytes.

Start with `simulate.py`; `world.py` builds cards and terminals, `traffic.py` ordinary payments, `scenarios.py` frauds.
"""
