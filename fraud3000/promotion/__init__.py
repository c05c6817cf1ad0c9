"""Evidence for and history of promotions: which version serves, and why.

Start with `checks.py` and `statistical_gate.py`; `history.py` and `verdict_log.py` are append-only.
"""
