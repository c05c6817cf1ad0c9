"""Rows to TRANSACTIONS: roles, amounts, card numbers, duplicates, and the quarantine for rejected rows.

Start with `clean.py`; `roles.py` maps one file's columns, and `row_errors.py` names every reason for a rejection.
"""
