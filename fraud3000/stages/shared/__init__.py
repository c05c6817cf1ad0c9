"""What several commands share: the workspace's paths, summaries, progress, model pointer, history.

Start with `workspace.py`.
"""
