"""Online engine: the features of one transaction at a time, by the same rules of time as the batch engine.

Start with `store.py` (`FeatureStore`). `plan_compiler.py` turns a catalogue into tables, `observe.py` runs them for one
transaction, and `memory_pool.py` describes the memory: one int64 array for all keys.
"""

from fraud3000.features.online.store import FeatureStore

__all__ = ["FeatureStore"]
