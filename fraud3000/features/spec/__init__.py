"""Declarations of features: what to compute, not how.

Start with `kinds.py` (one class per kind of feature, on the classes of `base.py`) and `catalogue.py`; `schema.py` validates a
catalogue that was read from a bundle, `describe.py` puts features into words.
"""
