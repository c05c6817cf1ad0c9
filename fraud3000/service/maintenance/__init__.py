"""Background tasks of the service: model reload, snapshots, checkpoints, archiving.

Start with `maintenance.py`.
"""
