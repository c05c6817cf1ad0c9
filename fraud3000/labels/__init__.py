"""Fraud labels: from when each one counts, how long reports take, and splits that respect that delay.

Start with `visibility.py`, the rules of the label ledger.
"""
