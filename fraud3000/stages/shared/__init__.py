"""Code shared by several commands: the workspace's paths, summaries, progress, model pointer, history.

Start with `workspace.py`.
"""
