"""Metrics of scored rows: ranking, card precision, money, calibration, confidence intervals, baselines.

Start with `catalogue.py`, the list of metrics, and `report.py`, which computes them. `evaluation.py` has the types of
metrics.json.
"""
