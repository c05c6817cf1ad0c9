"""Storage: local disk and S3, atomic writes, file locks, and data larger than memory.

Start with `locations.py` (a path or an s3:// address) and `atomic_write.py`.
"""
