"""Frozen pydantic models of params.yaml; unknown keys and invalid values are refused before any work starts.

One module per section. A params file states only what differs from the defaults. Start with `loading.py`.
"""

from fraud3000.params.backtest import BacktestParams
from fraud3000.params.evaluate import EvaluateModelParams
from fraud3000.params.featurize import Aggregate, ConditionParams, FeatureParams, FeaturizeModelParams, SplitParams
from fraud3000.params.loading import DEFAULT_FILE, Params, load, parse, validate
from fraud3000.params.policy import PolicyParams
from fraud3000.params.prepare import (
    TIME_FORMATS,
    AmountFormat,
    ColumnMapping,
    ColumnRoles,
    CsvFormat,
    DatedRate,
    LabelFormat,
    LabelsFile,
    PrepareModelParams,
    StatusFormat,
    TimeFormat,
)
from fraud3000.params.promote import Bounds, PromoteParams
from fraud3000.params.registry import RegistryParams
from fraud3000.params.retrain import RetrainParams
from fraud3000.params.section import FromEnvironment
from fraud3000.params.serve import ClockParams, FallbackParams, RetentionParams, ServeParams
from fraud3000.params.simulate import SimulateParams
from fraud3000.params.train import Estimator, LearnerParams, MemberParams, TrainModelParams
from fraud3000.params.tune import RangeParams, TuneParams
from fraud3000.params.values import Columns, Duration, Flag, Length, Moment, Rate, Several, Sign, Span

__all__ = [
    "DEFAULT_FILE",
    "TIME_FORMATS",
    "Aggregate",
    "AmountFormat",
    "BacktestParams",
    "Bounds",
    "ClockParams",
    "ColumnMapping",
    "ColumnRoles",
    "Columns",
    "ConditionParams",
    "CsvFormat",
    "DatedRate",
    "Duration",
    "Estimator",
    "EvaluateModelParams",
    "FallbackParams",
    "FeatureParams",
    "FeaturizeModelParams",
    "Flag",
    "FromEnvironment",
    "LabelFormat",
    "LabelsFile",
    "LearnerParams",
    "Length",
    "MemberParams",
    "Moment",
    "Params",
    "PolicyParams",
    "PrepareModelParams",
    "PromoteParams",
    "RangeParams",
    "Rate",
    "RegistryParams",
    "RetentionParams",
    "RetrainParams",
    "ServeParams",
    "Several",
    "Sign",
    "SimulateParams",
    "Span",
    "SplitParams",
    "StatusFormat",
    "TimeFormat",
    "TrainModelParams",
    "TuneParams",
    "load",
    "parse",
    "validate",
]
