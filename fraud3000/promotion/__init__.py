"""Promotion of models: checks, statistical gate, and the history of promotions.

Start with `checks.py` and `statistical_gate.py`; `history.py` and `verdict_log.py` are append-only.
"""
