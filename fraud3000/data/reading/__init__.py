"""CSV, JSON lines and Parquet files to typed rows; nothing is dropped or converted through a float.

Start with `files.py`, which opens a file by its format; `decimals.py` and `times.py` parse single values.
"""
