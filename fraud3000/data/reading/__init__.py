"""Read CSV, JSON lines and Parquet files as typed rows; no value is dropped or converted through a float.

Start with `files.py`, which opens a file by its format; `decimals.py` and `times.py` parse single values.
"""
