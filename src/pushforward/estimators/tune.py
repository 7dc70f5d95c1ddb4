"""A search for the options of a fit, within a budget of time, judged on rows that no trial has seen."""

from __future__ import annotations

import dataclasses
import importlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from pushforward.data.cells import read_cells
from pushforward.estimators.build import make_recipe
from pushforward.estimators.train import LEARNING_RATE, Prepared, Trained, layouts, prepare, train
from pushforward.estimators.tuned import Attempt, State, Tuned
from pushforward.io.options import FitOptions
from pushforward.training import Adam, FitError, Reporting, Steps, Stopping
from pushforward.training.plan import BATCH_SIZE

# Shares of the rows: those that choose the winner, and those that no trial sees, of these at most as many.
CHOOSING, FRESH, MOST_FRESH = 0.15, 0.15, 20_000
LEAST_ROWS = 40
# Trials that fit into the budget, if each takes its whole time; but a trial has as many seconds, to compile in.
TRIALS, LEAST_SECONDS = 8, 45.0
# Trials that end before others are stopped early, and epochs that each may run.
FREE_TRIALS, FREE_EPOCHS = 3, 5
# What is tried. The defaults are always among it.
WIDTHS, BINS, BATCHES = (32, 64, 128, 256), (4, 8, 16, 32), (128, 256, 512, 1024)
LAYERS, DEPTHS, RATES = (1, 8), (1, 3), (5e-4, 1e-2)
LINEAR = ("reverse", "permutation", "lu")
# Families, each with the flow and, for splines, whether it is autoregressive.
FAMILIES: dict[str, tuple[str, bool | None]] = {
    "nsf autoregressive": ("nsf", True),
    "nsf coupling": ("nsf", False),
    "maf": ("maf", None),
    "realnvp": ("realnvp", None),
}


def tune(
    table: Any,
    *,
    options: FitOptions | None = None,
    weights: Any = None,
    max_seconds: float = 600.0,
    n_trials: int | None = None,
    seed: int = 0,
    on_trial: Callable[[Attempt], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Tuned:
    """Search the flow and its sizes, the learning rate and the batch size for a table.

    All trials train on the same rows and are scored on the same others, as `FlowDensity` reports it. The first has the
    defaults, so that on these rows the winner is never worse. Trials that fall behind the median of those before are
    stopped early; one that diverges or runs out of memory has failed, and the search goes on. A third part of the rows
    is seen by no trial: the winner and the defaults are scored on it, for the best of many is lucky too.

    Args:
        table: as for `FlowDensity.fit`.
        options: what is not searched: the data options, the base, `max_epochs`; None takes the defaults.
        weights: `(n,)`, not negative.
        max_seconds: for all trials together; each has an eighth of it, or 45 s if that is more.
        n_trials: at most as many; None tries as many as there is time for.
        seed: of the split, the search, and the fits.
        on_trial: called with each trial when it ends.
        clock: seconds, for tests.

    Raises:
        ImportError: optuna is not installed.
        DataError: the table cannot be fitted.
        ValueError: too few rows, or an argument is out of bounds.
        FitError: every trial failed.
        KeyboardInterrupt: Ctrl-C, before there was anything to keep.

    Source: median pruning: Golovin et al., 2017, sec. 3.2.2, doi 10.1145/3097983.3098043.

    Example:
        >>> import numpy as np
        >>> from pushforward.estimators.tune import tune
        >>> from pushforward.io.options import FitOptions
        >>> once = FitOptions.check({"training": {"max_epochs": 1}})
        >>> tune(np.random.default_rng(0).normal(size=(60, 1)), options=once, n_trials=1).best
        0
    """
    try:
        optuna: Any = importlib.import_module("optuna")
    except ImportError as error:
        raise ImportError("tune: optuna is not installed. Run: pip install 'pushforward[tune]'") from error
    if not max_seconds > 0 or (n_trials is not None and n_trials < 1):
        raise ValueError(f"tune: expected max_seconds > 0 and n_trials >= 1, got {max_seconds} and {n_trials}.")
    options = options or FitOptions()
    if options.training.objective not in (None, "likelihood"):
        got = f"the objective {options.training.objective!r}"
        raise ValueError(f"tune: expected no objective, or likelihood, got {got}. The flows tried are trained by it.")
    data = options.data
    plain = isinstance(table, np.ndarray) and data.schema_file is None  # as `FlowDensity` takes arrays
    columns = None if data.columns is None else [*data.columns, *(c for c in data.given if c not in data.columns)]
    whole = prepare(
        np.asarray(table, np.float64) if plain else read_cells(table, columns),
        None if weights is None else np.asarray(weights, np.float64),
        names=[f"x{i}" for i in range(np.shape(table)[1])] if plain else None,
        schema=data.schema_file,
        given=list(data.given) or None,
        missing=data.missing,
    )
    n = len(whole.rows)
    if n < LEAST_ROWS:
        raise ValueError(f"tune: expected {LEAST_ROWS} rows or more, to be split in three, got {n}.")
    rng = np.random.default_rng(seed)
    fresh, rest = np.split(rng.permutation(n), [min(round(FRESH * n), MOST_FRESH)])
    trials = _Trials(
        take(whole, np.sort(rest)),
        options,
        rng.integers(0, 2**32, size=(2, 2), dtype=np.uint32),
        optuna,
        max_seconds,
        clock,
    )
    with quiet(optuna):
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=6)
        pruner = optuna.pruners.MedianPruner(FREE_TRIALS, FREE_EPOCHS)
        study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        study.enqueue_trial(trials.space.defaults)
        while trials.go_on(n_trials):
            attempt = trials.run(study)
            if on_trial is not None:
                on_trial(attempt)
    return _judge(trials, take(whole, np.sort(fresh)), whole.notes)


def take(prepared: Prepared, places: np.ndarray) -> Prepared:
    """Some rows of a prepared table."""
    condition = None if prepared.condition is None else prepared.condition[places]
    weights = None if prepared.weights is None else prepared.weights[places]
    return dataclasses.replace(prepared, encoded=prepared.encoded.take(places), condition=condition, weights=weights)


@contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Optuna without its log, which is set for the whole process: as it was before, afterwards."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


class Space:
    """What is tried, for a table.

    Args:
        n_values: numbers per row; a coupling needs two, and without any the flow makes no difference.
        n: rows.
    """

    def __init__(self, n_values: int, n: int):
        recipe = make_recipe("nsf", "normal", {}, n).arguments
        own = next(name for name, kind in FAMILIES.items() if kind == ("nsf", recipe["autoregressive"]))
        couplings = ("nsf coupling", "realnvp")
        families = [name for name in FAMILIES if n_values > 1 or name == own or (n_values and name not in couplings)]
        self.families = families
        self.defaults: dict[str, Any] = {"family": own, "learning_rate": LEARNING_RATE, "batch_size": BATCH_SIZE}
        self.defaults |= {name: recipe[name] for name in ("n_layers", "width", "depth", "bins", "linear")}
        self.searched = n_values > 0
        self.batches = sorted({size for size in BATCHES if 2 * size <= n} | {BATCH_SIZE})

    def suggest(self, trial: Any) -> dict[str, Any]:
        """The choices of a trial; an Optuna `Trial` makes them."""
        default = self.defaults
        chosen = {"family": trial.suggest_categorical("family", self.families)}
        if self.searched:
            low, high = LAYERS
            chosen["n_layers"] = trial.suggest_int(
                "n_layers", min(low, default["n_layers"]), max(high, default["n_layers"])
            )
            chosen["width"] = trial.suggest_categorical("width", sorted({*WIDTHS, default["width"]}))
            low, high = DEPTHS
            chosen["depth"] = trial.suggest_int("depth", min(low, default["depth"]), max(high, default["depth"]))
            if FAMILIES[chosen["family"]][0] == "nsf":
                chosen["bins"] = trial.suggest_categorical("bins", sorted({*BINS, default["bins"]}))
            chosen["linear"] = trial.suggest_categorical("linear", LINEAR)
        chosen["learning_rate"] = trial.suggest_float("learning_rate", *RATES, log=True)
        chosen["batch_size"] = trial.suggest_categorical("batch_size", self.batches)
        return chosen


def options_of(chosen: dict[str, Any], options: FitOptions) -> FitOptions:
    """The options of a fit with these choices."""
    name, autoregressive = FAMILIES[chosen["family"]]
    flow = {key: chosen[key] for key in ("n_layers", "width", "depth", "bins", "linear") if key in chosen}
    flow |= {"name": name, "base": options.flow.base, "autoregressive": autoregressive}
    training = {key: chosen[key] for key in ("learning_rate", "batch_size")}
    return FitOptions.check(
        {
            "data": options.data.model_dump(),
            "flow": flow,
            "training": {**options.training.model_dump(), **training},
        }
    )


class _Trials:
    """The trials of one search, one after the other. A mutable helper."""

    def __init__(
        self, prepared: Prepared, options: FitOptions, seeds: np.ndarray, optuna: Any, budget: float, clock: Callable
    ):
        self.prepared, self.options, self.seeds, self.optuna, self.clock = prepared, options, seeds, optuna, clock
        self.space = Space(len(layouts(prepared)[0].valued), len(prepared.rows))
        self.budget, self.start = budget, clock()
        self.limit = min(budget, max(budget / TRIALS, LEAST_SECONDS))
        self.attempts: list[Attempt] = []
        self.defaults: Trained | None = None
        self.best: Trained | None = None
        self.best_number = -1
        self.first_score = 0.0  # seconds until a trial has its first score: less is no trial

    @property
    def left(self) -> float:
        """Seconds of the budget."""
        return self.budget - (self.clock() - self.start)

    def go_on(self, n_trials: int | None) -> bool:
        """Whether there is another trial."""
        if not self.attempts:
            return True
        if self.attempts[-1].state == "interrupted" or (n_trials is not None and len(self.attempts) >= n_trials):
            return False
        return self.left > self.first_score

    def run(self, study: Any) -> Attempt:
        """One trial, whatever becomes of it."""
        trial, began = study.ask(), self.clock()
        chosen, states = self.space.suggest(trial), self.optuna.trial.TrialState
        state: State = "done"
        words, trained = "", None
        reported: list[tuple[int, float]] = []
        try:
            trained = self._fit(options_of(chosen, self.options), self._callback(trial, reported, began))
        except self.optuna.TrialPruned:
            state = "stopped early"
        except (FitError, MemoryError, jax.errors.JaxRuntimeError) as error:
            state, words = "failed", " ".join(str(error).split())[:200] or type(error).__name__
        except KeyboardInterrupt:  # while compiling; later the fit keeps its best weights
            state, words = "interrupted", "before its first score"
        nats = error = math.nan
        steps = 0
        if trained is not None:
            verdict = trained.result.verdict
            steps, nats = verdict.steps, math.nan if verdict.held_out_nats is None else verdict.held_out_nats
            error = math.nan if verdict.standard_error is None else verdict.standard_error
            if verdict.status == "interrupted":
                state = "interrupted"
            if steps == 0 or not math.isfinite(nats):
                words = "no step within its time" if steps == 0 else "its held-out score is not finite"
                state, nats, trained = ("failed" if state == "done" else state), math.nan, None
        elif reported:
            nats = max(value for _, value in reported)
        told = {"done": states.COMPLETE, "stopped early": states.PRUNED}.get(state, states.FAIL)
        study.tell(trial, nats if state == "done" else None, state=told)
        number = len(self.attempts)
        attempt = Attempt(number, state, chosen, nats, error, steps, self.clock() - began, words)
        self.attempts.append(attempt)
        self._keep(attempt, trained)
        return attempt

    def _keep(self, attempt: Attempt, trained: Trained | None) -> None:
        if trained is None:
            return
        if attempt.number == 0:
            self.defaults = trained
        # Of an interrupted trial the weights are half trained: it counts only where there is no other.
        better = self.best is None or attempt.nats > self.attempts[self.best_number].nats
        if better and (attempt.state == "done" or self.best is None):
            self.best, self.best_number = trained, attempt.number

    def _callback(
        self, trial: Any, reported: list[tuple[int, float]], began: float
    ) -> Callable[[dict[str, float]], None]:
        def callback(row: dict[str, float]) -> None:
            if not reported:
                taken = self.clock() - began
                self.first_score = taken if self.first_score == 0 else min(taken, self.first_score)
            epoch, nats = int(row["epoch"]), float(row["held_out_nats"])
            # Epochs, for steps of other batch sizes see other numbers of rows. A long epoch has several scores.
            if math.isfinite(nats) and (not reported or epoch > reported[-1][0]):
                reported.append((epoch, nats))
                trial.report(nats, epoch)
                if trial.should_prune():
                    raise self.optuna.TrialPruned

        return callback

    def _fit(self, options: FitOptions, callback: Callable[[dict[str, float]], None]) -> Trained:
        keywords = options.keywords()
        named = {key: keywords[key] for key in ("n_layers", "width", "depth", "bins", "autoregressive")}
        recipe = make_recipe(
            keywords["flow"], keywords["base"], {**named, **(keywords["flow_options"] or {})}, len(self.prepared.rows)
        )
        return train(
            self.prepared,
            recipe,
            self.seeds,
            validation=CHOOSING / (1 - FRESH),
            optimizer=Adam(keywords["learning_rate"], keywords["weight_decay"]),
            max_epochs=keywords["max_epochs"],
            progress=False,
            options=[
                Stopping(max(min(self.limit, self.left), 1.0)),
                Steps(keywords["batch_size"]),
                Reporting(callback),
            ],
        )


def _judge(trials: _Trials, fresh: Prepared, notes: Sequence[str]) -> Tuned:
    """The winner and the defaults on rows that no trial saw."""
    interrupted = trials.attempts[-1].state == "interrupted"
    if trials.best is None:
        if interrupted:
            raise KeyboardInterrupt
        raise FitError(f"tune: none of {len(trials.attempts)} trials succeeded. The last: {trials.attempts[-1].words}")
    weights = np.ones(len(fresh.rows)) if fresh.weights is None else fresh.weights
    weights = weights / weights.sum()
    own = trials.best.model.score_encoded(fresh.encoded, fresh.condition).log_prob
    gain = error = chosen_gain = math.nan
    if trials.defaults is not None:
        other = own
        if trials.best_number != 0:
            other = trials.defaults.model.score_encoded(fresh.encoded, fresh.condition).log_prob
        gain = float(weights @ (own - other))
        error = float(np.sqrt(np.sum((weights * (own - other - gain)) ** 2)))
        chosen_gain = trials.attempts[trials.best_number].nats - trials.attempts[0].nats
    winner = trials.attempts[trials.best_number]
    return Tuned(
        options=options_of(winner.choices, trials.options),
        attempts=tuple(trials.attempts),
        best=winner.number,
        chosen_gain=chosen_gain,
        fresh_rows=len(fresh.rows),
        fresh_nats=float(weights @ own),
        fresh_gain=gain,
        fresh_error=error,
        interrupted=interrupted,
        notes=tuple(notes),
    )
