"""Durable, tamper-evident journal of transactions, decisions and labels.

Start with `interface.py` and `entries.py`; `sqlite.py` stores, `group_commit.py` writes, `hash_chain.py` and `checkpoints.py`
make edits evident.
"""
