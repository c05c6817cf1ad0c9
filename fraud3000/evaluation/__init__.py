"""Evaluation of recipes (all train params) rather than of one model: rolling backtest, hyperparameter search, segments.

Start with `rolling_backtest.py`.
"""
