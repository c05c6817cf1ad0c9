"""Deployments on Amazon ECS: plan a rollout, follow it, roll back, run one task.

Start with `rollouts.py`; `aws.py` makes the calls.
"""
