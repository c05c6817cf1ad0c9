"""Guess how a raw file maps to TRANSACTIONS, from its names and a sample of its values.

Start with `guess.py`; `params_text.py` writes the guess as a params file.
"""
