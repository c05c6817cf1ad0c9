"""One module per command: read, call the library, write atomically, return a summary.

What several commands share is in `shared`.
"""
