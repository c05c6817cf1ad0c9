"""Command line: each command parses its options, calls one stage and prints its summary.

One module per group of commands. Start with `command.py`, the decorator that gives each of them --params, --json and -v.
"""
# ruff: noqa: I001 - the order of these imports is the order of the commands in --help

from fraud3000.cli.app import app, run
from fraud3000.cli import data, training, scoring, deploy, audit, labels, keys

__all__ = ["app", "audit", "data", "deploy", "keys", "labels", "run", "scoring", "training"]
