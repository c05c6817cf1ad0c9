"""Fraud labels: when each label becomes known, how long reports take, and splits that respect that delay.

Start with `visibility.py`, the rules of the label ledger.
"""
