"""Where files lie and how they are written: local disk and S3, atomic writes, locks, data larger than memory.

Start with `locations.py` (a path or an s3:// address) and `atomic_write.py`.
"""
