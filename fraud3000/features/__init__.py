"""Features of a transaction as of the time it happened: one catalogue, two engines.

`default_features.py` lists the features, `spec` declares them, `batch` computes them for files, `online` for one transaction at a
time, and `verification` checks that both give the same bits.
"""
