"""Writing a fit's learning curve where other tools read it: JSON lines, TensorBoard, MLflow, Weights & Biases.

A tracker is any object with the three methods of `AbstractTracker`. None of the packages behind them is required.
"""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pushforward._checks import message, package_of
from pushforward._files import FOLDER, irregular
from pushforward._json import to_json

FAILED = ("diverged", "failed")  # the status of a fit that gave no weights


@runtime_checkable
class AbstractTracker(Protocol):
    """The methods that `fit` calls. An error in a tracker never ends a fit, which warns once and goes on without it."""

    def start(self, params: Mapping[str, Any]) -> None:
        """The fit begins, with these options and sizes.

        `"resumed_from"` is the step of the checkpoint that it goes on from: rows after it will come again. It is None
        for a fit that starts anew.
        """

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """A row of the history: optimiser steps so far, which rise from row to row, and its other columns."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """The fit has ended with this verdict; after an error it is only `"status"` and `"text"`."""


class JsonLines(AbstractTracker):
    """Appends one JSON object per line to a file, each written at once: `pandas.read_json(path, lines=True)` reads it.

    A fit's first line has `"event": "start"` and the params, then come lines with `"event": "row"` and the columns of
    the history, and in the end one with `"event": "finish"` and the verdict. Numbers that are not finite are null. A
    fit that is resumed takes the lines after its checkpoint away first, so that no step stands there twice.

    Args:
        path: Path of the file; other fits in it are left alone.

    Raises:
        FileNotFoundError: The folder of the file does not exist.
        IsADirectoryError: The path is a folder.
        FileExistsError: The path is a link, a pipe, a socket or a device.

    Example:
        >>> import tempfile
        >>> tracker = JsonLines(tempfile.mkdtemp() + "/curve.jsonl")
        >>> tracker.start({"rows": 100, "resumed_from": None})
        >>> tracker.log(10, {"train_nats": -1.25, "held_out_nats": float("nan")})
        >>> print(tracker.path.read_text().splitlines()[1])
        {"event": "row", "step": 10, "train_nats": -1.25, "held_out_nats": null}
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        what = irregular(self.path)
        if what == FOLDER:
            raise IsADirectoryError(f"JsonLines: {self.path} is a folder. Name a file in it.")
        if what is not None:
            raise FileExistsError(
                f"JsonLines: expected a regular file or nothing at {self.path}, got {what}. Name another."
            )
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"JsonLines: there is no folder {self.path.parent}. Make it first.")

    def start(self, params: Mapping[str, Any]) -> None:
        step, end, at = params.get("resumed_from"), 0, 0
        there = step is not None and self.path.exists()
        for line in self.path.read_bytes().splitlines(keepends=True) if there else ():
            at += len(line)
            event = _event(line)
            # The lines of the last fit up to the checkpoint are kept.
            if event["event"] == "start" or (end and event["event"] == "row" and event["step"] <= step):
                end = at
        if end:
            os.truncate(self.path, end)
        else:
            self._write({"event": "start", **params})

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._write({"event": "row", "step": step, **metrics})

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._write({"event": "finish", **summary})

    def _write(self, record: Mapping[str, Any]) -> None:
        line = (to_json(record) + "\n").encode("utf-8")
        # Unbuffered: a line is one write, which a signal does not cut in two.
        with self.path.open("a+b", buffering=0) as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line  # half a line of a writer that was killed
            file.write(line)


class TensorBoard(AbstractTracker):
    """Writes an event file for TensorBoard, through tensorboardX.

    Args:
        folder: Folder of the event files; a resumed fit's rows replace those after its checkpoint.

    Raises:
        ImportError: TensorboardX is not installed.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder, self._package = Path(folder), package_of("TensorBoard", "tensorboardX", "tensorboard")
        self._writer: Any = None

    def start(self, params: Mapping[str, Any]) -> None:
        step = params.get("resumed_from")
        # TensorBoard hides the rows from `purge_step` on; two files of the same second would have the same name.
        again = {} if step is None else {"purge_step": int(step) + 1, "filename_suffix": f".{step}"}
        self._writer = self._package.SummaryWriter(str(self.folder), **again)
        if step is None:
            self._writer.add_text("params", to_json(params))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in _finite(metrics).items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._writer.add_text("verdict", str(summary.get("text", "")))
        self._writer.close()


class MLflow(AbstractTracker):
    """Logs to a run of MLflow, through `mlflow.MlflowClient`; MLflow's active run and settings are left alone.

    Args:
        experiment: Name of the experiment, which is made if there is none.
        run_name: Name of the run; None lets MLflow choose.
        tracking_uri: Address of the server or folder; None takes MLflow's setting.
        run_id: Identifier of an existing run, for a fit that is resumed; from `start` on, that of the run. MLflow
            keeps the rows after the checkpoint that were logged before, beside the new ones.

    Raises:
        ImportError: MLflow is not installed.
    """

    def __init__(
        self,
        experiment: str = "Default",
        run_name: str | None = None,
        tracking_uri: str | None = None,
        run_id: str | None = None,
    ):
        self._package = package_of("MLflow", "mlflow", "mlflow")
        self._client = self._package.MlflowClient(tracking_uri=tracking_uri)
        self.experiment, self.run_name, self.run_id = experiment, run_name, run_id

    def start(self, params: Mapping[str, Any]) -> None:
        if self.run_id is not None:
            self._client.get_run(self.run_id)  # an error, if there is none
            return
        found = self._client.get_experiment_by_name(self.experiment)
        where = self._client.create_experiment(self.experiment) if found is None else found.experiment_id
        self.run_id = self._client.create_run(where, run_name=self.run_name).info.run_id
        for name, value in params.items():
            self._client.log_param(self.run_id, name, value)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        now = round(1000 * time.time())  # MLflow counts milliseconds
        rows = [self._package.entities.Metric(name, value, now, step) for name, value in _finite(metrics).items()]
        self._client.log_batch(self.run_id, metrics=rows)

    def finish(self, summary: Mapping[str, Any]) -> None:
        for name, value in summary.items():
            self._client.set_tag(self.run_id, f"verdict.{name}", value)
        status = "FAILED" if summary.get("status") in FAILED else "FINISHED"
        self._client.set_terminated(self.run_id, status=status)


class WandB(AbstractTracker):
    """Logs to a run of Weights & Biases.

    Args:
        project: Name of the project; None takes W&B's setting.
        name: Name of the run; None lets W&B choose.
        run_id: Identifier of an existing run, for a fit that is resumed; from `start` on, that of the run. W&B ignores
            steps that it has already.
        mode: Mode of W&B: `"online"`, `"offline"` or `"disabled"`; None takes W&B's setting.

    Raises:
        ImportError: Wandb is not installed.
    """

    def __init__(
        self, project: str | None = None, name: str | None = None, run_id: str | None = None, mode: str | None = None
    ):
        self._package, self.run_id = package_of("WandB", "wandb", "wandb"), run_id
        self._options = {"project": project, "name": name, "mode": mode}
        self._run: Any = None

    def start(self, params: Mapping[str, Any]) -> None:
        resume = None if self.run_id is None else "allow"
        self._run = self._package.init(config=dict(params), id=self.run_id, resume=resume, **self._options)
        self.run_id = self._run.id

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._run.summary.update(dict(summary))
        self._run.finish(exit_code=int(summary.get("status") in FAILED))


class Trackers:
    """All trackers of a fit, one, several or None: one that fails is left out from then on, with a warning.

    Raises:
        TypeError: A tracker lacks a method of `AbstractTracker`.
    """

    def __init__(self, trackers: AbstractTracker | Sequence[AbstractTracker] | None):
        several = trackers if isinstance(trackers, Sequence) else [] if trackers is None else [trackers]
        self.left: list[Any] = list(several)
        for tracker in self.left:
            if not isinstance(tracker, AbstractTracker) or isinstance(tracker, type):
                got = f"{type(tracker).__name__} {tracker!r}"[:200]
                fix = "Pass one such as training.JsonLines(path)."
                raise TypeError(message("fit", "trackers with start, log and finish", got, fix))

    def call(self, method: str, *arguments: Any) -> None:
        """Call a method of each."""
        for tracker in tuple(self.left):
            try:
                getattr(tracker, method)(*arguments)
            except Exception as error:  # whatever it is, the fit is worth more
                self.left.remove(tracker)
                reason = f"{type(error).__name__}: {error}"[:300]
                text = f"fit: the tracker {type(tracker).__name__} failed in {method} ({reason})."
                warnings.warn(f"{text} The fit goes on without it.", RuntimeWarning, stacklevel=2)


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that can be drawn."""
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def _event(line: bytes) -> dict[str, Any]:
    """The event of a line; a line that is none, as where a writer was killed, belongs to nothing."""
    try:
        return {"event": None, "step": math.inf, **json.loads(line)}
    except (ValueError, TypeError):
        return {"event": None}
