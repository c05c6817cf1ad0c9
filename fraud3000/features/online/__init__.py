"""The catalogue over one transaction at a time, by the same rules of time as the batch engine."""

from fraud3000.features.online.store import FeatureStore

__all__ = ["FeatureStore"]
