"""Decision engine: computes features, scores and decides, one transaction or a batch at a time.

Start with `decision_engine.py`; `decider.py` applies one model, `feature_state.py` restores state from snapshot and journal.
"""
