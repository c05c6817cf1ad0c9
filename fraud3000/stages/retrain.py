"""All steps from raw transactions to a judged model, in one go, for a schedule: stops where one says no, goes on where one broke.

How far a run came is on the disk after each step. A run that ended in an error, or was ended, is gone on with by the
next one; a run that a check stopped is over.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from loguru import logger

from fraud3000 import webhook
from fraud3000.data.storage import atomic_write, file_lock
from fraud3000.errors import FraudError
from fraud3000.params import Params
from fraud3000.promotion import history
from fraud3000.stages.evaluate import evaluate
from fraud3000.stages.featurize import featurize
from fraud3000.stages.prepare import prepare
from fraud3000.stages.promote import promote
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace
from fraud3000.stages.train import train

Step = Callable[[Params], Summary]

_KEPT = 100  # runs that the history tells of


def _evaluated(params: Params) -> Summary:
    return evaluate(params, model=_challenger(params))


def _judged(params: Params) -> Summary:
    return promote(params, version=_challenger(params), why="retrain")


def _challenger(params: Params) -> str:
    return str(history.alias_state(params.registry).challenger)


STEPS: Mapping[str, Step] = {
    "prepare": prepare,
    "featurize": featurize,
    "train": train,
    "evaluate": _evaluated,
    "promote": _judged,
}
"""In their order."""


@dataclass(frozen=True)
class RetrainRun:
    """How far a run came.

    Attributes
    ----------
    began
        ISO 8601.
    params
        Hash of the params that it began with.
    seconds
        Of each step that is done.
    status
        ``running``, or how it ended: ``promoted``, ``refused`` or ``failed``.
    step, why
        Where it ended otherwise than well, and why.
    champion
        The version that is champion at the end.
    """

    began: str
    params: str
    seconds: dict[str, float] = field(default_factory=dict)
    status: str = "running"
    step: str | None = None
    why: str | None = None
    champion: str | None = None

    @classmethod
    def start(cls, params: Params) -> RetrainRun:
        return cls(datetime.now(UTC).isoformat(timespec="seconds"), _hash(params))

    def may_go_on(self, params: Params) -> bool:
        """Whether the same params ask for it, soon enough for its data to be today's."""
        age = datetime.now(UTC) - datetime.fromisoformat(self.began)
        return self.params == _hash(params) and age <= params.retrain.resume_within

    def done(self, step: str, seconds: float) -> RetrainRun:
        return replace(self, seconds={**self.seconds, step: round(seconds, 1)}, status="running", step=None, why=None)

    def ended(self, status: str, step: str, why: str | None) -> RetrainRun:
        return replace(self, status=status, step=step, why=why)


def retrain(params: Params, *, restart: bool = False, steps: Mapping[str, Step] = STEPS) -> Summary:
    """Prepare, featurize, train, evaluate and promote.

    Parameters
    ----------
    restart
        Begin with the first step although the last run broke off.
    steps
        What is done, by name, in order; the last one decides.

    Returns
    -------
    Summary
        Of all steps; with ``refused`` set where one of them said no.

    Raises
    ------
    FraudError
        Of the step that failed, as it raised it. What was done before stands, and the next run goes on from there.
    UnavailableError
        Another run is under way, or the workspace cannot be written.
    """
    book = _RunLog(Workspace.from_params(params).retraining)
    with file_lock.only_one(book.folder, doing="retraining"):
        before = book.unfinished()
        resumes = before is not None and not restart and before.may_go_on(params)
        run = before if before is not None and resumes else RetrainRun.start(params)
        run, told = _walked(run, params, steps, book)
    facts = {"began": run.began, "went on after": _last(before) if resumes and before else None, **told.facts}
    table = Table("Steps", ("step", "seconds"), tuple((name, f"{took:,.1f}") for name, took in run.seconds.items()))
    kept = {"run": str(book.runs)}
    return replace(told, command="retrain", facts=facts, tables=(table, *told.tables), outputs={**told.outputs, **kept})


def _walked(run: RetrainRun, params: Params, steps: Mapping[str, Step], book: _RunLog) -> tuple[RetrainRun, Summary]:
    """Do what is left of a run, and say how it ended, on the disk and to the webhook."""
    told = Summary(command="retrain", facts={})
    for name, step in steps.items():
        if name in run.seconds:
            continue
        book.keep(run)
        begin = time.perf_counter()
        try:
            told = told.then(step(params)) if told.facts else step(params)
        except Exception as error:
            why = error.message if isinstance(error, FraudError) else type(error).__name__
            _end(run.ended("failed", name, why), params, book)
            raise
        run = run.done(name, time.perf_counter() - begin)
        logger.info("retrain step={} seconds={}", name, run.seconds[name])
        if told.refused:
            return _end(run.ended("refused", name, told.refused), params, book), told
    return _end(run.ended("promoted", name, None), params, book), told


def _end(run: RetrainRun, params: Params, book: _RunLog) -> RetrainRun:
    if run.status != "failed":
        run = replace(run, champion=history.alias_state(params.registry).champion)
    book.end(run)
    if params.retrain.webhook is not None:
        webhook.tell(params.retrain.webhook, {"command": "retrain", **asdict(run)})
    return run


def _last(run: RetrainRun) -> str:
    return list(run.seconds)[-1] if run.seconds else "nothing"


def _hash(params: Params) -> str:
    kept = params.model_dump(mode="json", exclude={"retrain", "serve"})
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class _RunLog:
    """The runs of a workspace on the disk: one that is not over, and those that are."""

    folder: Path

    @property
    def runs(self) -> Path:
        return self.folder / "runs.jsonl"

    @property
    def _current(self) -> Path:
        return self.folder / "current.json"

    def unfinished(self) -> RetrainRun | None:
        """The run that broke off; None where the last one is over, or what is told of it cannot be read."""
        try:
            return RetrainRun(**json.loads(self._current.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, run: RetrainRun) -> None:
        with atomic_write.whole(self._current) as (part,):
            part.write_text(json.dumps(asdict(run), indent=2) + "\n", encoding="utf-8")

    def end(self, run: RetrainRun) -> None:
        """Tell of a run among those that ended; one that failed may be gone on with."""
        before = self.runs.read_text(encoding="utf-8").splitlines() if self.runs.exists() else []
        with atomic_write.whole(self.runs) as (part,):
            lines = [*before, json.dumps(asdict(run))][-_KEPT:]
            part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        if run.status == "failed":
            self.keep(run)
        else:
            self._current.unlink(missing_ok=True)
