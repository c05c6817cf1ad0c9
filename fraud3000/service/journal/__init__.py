"""Durable, tamper-evident journal of transactions, decisions and labels.

Start with `interface.py` and `entries.py`. `group_commit.py` writes, `sqlite.py` stores, `hash_chain.py` and `checkpoints.py`
reveal edits, `audit.py` reports them, `recovery.py` rebuilds a damaged journal.
"""
