"""Clean raw rows into TRANSACTIONS: column roles, amounts, card numbers, duplicates, and a quarantine for rejected rows.

Start with `clean.py`; `roles.py` maps the columns of one file, `row_errors.py` records why rows are rejected.
"""
