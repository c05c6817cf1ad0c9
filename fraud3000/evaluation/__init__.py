"""Evaluation of a recipe rather than of one model: rolling backtest, hyperparameter search, segments.

Start with `rolling_backtest.py`.
"""
