"""Fitting: which rows, which estimator, class imbalance, cross-fitted calibration and threshold.

Start with `fit.py`; `cross_fit.py` chooses calibrator and threshold on rows that the model was not fitted on.
"""
