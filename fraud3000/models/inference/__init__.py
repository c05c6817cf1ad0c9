"""Scoring: the bundle on disk, the scorer, trees as arrays, calibration, explanations.

Start with `scorer.py`; `bundle.py` describes the folder, `bundle_parts.py` validates what is read from it.
"""
