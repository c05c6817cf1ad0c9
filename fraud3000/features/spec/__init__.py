"""Declarations of features: what to compute, never how.

Start with `declarations.py`; `schema.py` validates a catalogue that was read from a bundle, `describe.py` puts it into words.
"""
