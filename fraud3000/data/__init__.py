"""From raw files to TRANSACTIONS, and where files are stored.

`reading` turns bytes into typed rows, `cleaning` turns rows into TRANSACTIONS, `storage` writes and fetches files.
Start with `cleaning/clean.py`.
"""
