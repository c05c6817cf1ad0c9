"""`retrain`: run prepare, featurize, train, evaluate and promote on a schedule; the next run resumes an interrupted one.

Progress is saved after each step. A run that failed or was interrupted is resumed by the next run; a run that was
refused by a check is finished.
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

_RUNS_LOGGED = 100  # the log has at most this many runs


def _evaluate_challenger(params: Params) -> Summary:
    return evaluate(params, model=_challenger(params))


def _promote_challenger(params: Params) -> Summary:
    return promote(params, version=_challenger(params), why="retrain")


def _challenger(params: Params) -> str:
    return str(history.alias_state(params.registry).challenger)


STEPS: Mapping[str, Step] = {
    "prepare": prepare,
    "featurize": featurize,
    "train": train,
    "evaluate": _evaluate_challenger,
    "promote": _promote_challenger,
}
"""Steps by name, in order."""


@dataclass(frozen=True)
class RetrainRun:
    """Progress of a run, as stored in current.json and runs.jsonl.

    Attributes
    ----------
    began
        Start time, ISO 8601.
    params
        Hash of the params at the start.
    seconds
        Duration of each finished step.
    status
        ``running``, or the outcome: ``promoted``, ``refused`` or ``failed``.
    step, why
        The step that failed or refused, and the reason.
    champion
        The champion at the end of the run.
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

    def can_resume(self, params: Params) -> bool:
        """Return whether the params are the same and the run is recent enough to be resumed."""
        age = datetime.now(UTC) - datetime.fromisoformat(self.began)
        return self.params == _hash(params) and age <= params.retrain.resume_within

    def with_step(self, step: str, seconds: float) -> RetrainRun:
        return replace(self, seconds={**self.seconds, step: round(seconds, 1)}, status="running", step=None, why=None)

    def with_outcome(self, status: str, step: str, why: str | None) -> RetrainRun:
        return replace(self, status=status, step=step, why=why)


def retrain(params: Params, *, restart: bool = False, steps: Mapping[str, Step] = STEPS) -> Summary:
    """Prepare, featurize, train, evaluate and promote.

    Parameters
    ----------
    restart
        Start with the first step even if the last run was interrupted.
    steps
        The steps by name, in order; the last one decides.

    Returns
    -------
    Summary
        Summary of all steps; with ``refused`` set if a check failed.

    Raises
    ------
    FraudError
        The error of the failed step. Results of earlier steps remain, and the next run resumes there.
    UnavailableError
        Another run is in progress, or the workspace cannot be written.
    """
    log = _RunLog(Workspace.from_params(params).retraining)
    with file_lock.exclusive_lock(log.folder, operation="retraining"):
        before = log.unfinished()
        resumes = before is not None and not restart and before.can_resume(params)
        run = before if before is not None and resumes else RetrainRun.start(params)
        run, summary = _run_steps(run, params, steps, log)
    facts = {"began": run.began, "resumed after": _last_step(before) if resumes and before else None, **summary.facts}
    table = Table("Steps", ("step", "seconds"), tuple((name, f"{took:,.1f}") for name, took in run.seconds.items()))
    outputs = {**summary.outputs, "run": str(log.runs)}
    return replace(summary, command="retrain", facts=facts, tables=(table, *summary.tables), outputs=outputs)


def _run_steps(run: RetrainRun, params: Params, steps: Mapping[str, Step], log: _RunLog) -> tuple[RetrainRun, Summary]:
    """Run the remaining steps, and report the outcome to the log and the webhook."""
    summary = Summary(command="retrain", facts={})
    for name, step in steps.items():
        if name in run.seconds:
            continue
        log.save(run)
        begin = time.perf_counter()
        try:
            summary = summary.then(step(params)) if summary.facts else step(params)
        except Exception as error:
            why = error.message if isinstance(error, FraudError) else type(error).__name__
            _finish(run.with_outcome("failed", name, why), params, log)
            raise
        run = run.with_step(name, time.perf_counter() - begin)
        logger.info("retrain step={} seconds={}", name, run.seconds[name])
        if summary.refused:
            return _finish(run.with_outcome("refused", name, summary.refused), params, log), summary
    return _finish(run.with_outcome("promoted", name, None), params, log), summary


def _finish(run: RetrainRun, params: Params, log: _RunLog) -> RetrainRun:
    if run.status != "failed":
        run = replace(run, champion=history.alias_state(params.registry).champion)
    log.finish(run)
    if params.retrain.webhook is not None:
        webhook.post_json(params.retrain.webhook, {"command": "retrain", **asdict(run)})
    return run


def _last_step(run: RetrainRun) -> str:
    return list(run.seconds)[-1] if run.seconds else "nothing"


def _hash(params: Params) -> str:
    content = params.model_dump(mode="json", exclude={"retrain", "serve"})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class _RunLog:
    """Stored runs of a workspace: the unfinished run, and the log of finished runs."""

    folder: Path

    @property
    def runs(self) -> Path:
        return self.folder / "runs.jsonl"

    @property
    def _current(self) -> Path:
        return self.folder / "current.json"

    def unfinished(self) -> RetrainRun | None:
        """Return the interrupted run; None if the last run is finished or its file cannot be read."""
        try:
            return RetrainRun(**json.loads(self._current.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, run: RetrainRun) -> None:
        with atomic_write.atomic_outputs(self._current) as (part,):
            part.write_text(json.dumps(asdict(run), indent=2) + "\n", encoding="utf-8")

    def finish(self, run: RetrainRun) -> None:
        """Append a run to the log; a failed run can still be resumed."""
        before = self.runs.read_text(encoding="utf-8").splitlines() if self.runs.exists() else []
        with atomic_write.atomic_outputs(self.runs) as (part,):
            lines = [*before, json.dumps(asdict(run))][-_RUNS_LOGGED:]
            part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        if run.status == "failed":
            self.save(run)
        else:
            self._current.unlink(missing_ok=True)
