"""A search for the options of a fit, within a budget of time, judged on rows that no trial has seen."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from pushforward._checks import package_of
from pushforward.io.fit_options import FitOptions
from pushforward.numerics.mean_error import mean_and_error
from pushforward.objectives import MaximumLikelihood
from pushforward.tables.estimators.trials import Attempt, State, Tuned
from pushforward.tables.modelling.build import make_recipe
from pushforward.tables.modelling.preparation import Prepared, layouts, prepare
from pushforward.tables.modelling.train import Trained, train
from pushforward.tables.reading.cells import read_cells
from pushforward.training import Adam, FitError, Reporting, Steps, Stopping
from pushforward.training.plan import BATCH_SIZE

# Shares of the rows: those that choose the winner, and those that no trial sees, of these at most as many.
CHOOSING, FRESH, MOST_FRESH = 0.15, 0.15, 20_000
LEAST_ROWS = 40
# Trials that fit into the budget, if each takes its whole time; but a trial has as many seconds, to compile in.
TRIALS, LEAST_SECONDS = 8, 45.0
# Trials that end before others are stopped early, and epochs that each may run.
FREE_TRIALS, FREE_EPOCHS = 3, 5
# What is tried, numbers or names. The defaults are always among it.
SIZES: dict[str, Sequence[Any]] = {
    "n_layers": range(1, 9),
    "width": (32, 64, 128, 256),
    "depth": range(1, 4),
    "bins": (4, 8, 16, 32),
    "linear": ("reverse", "permutation", "lu"),
}
BATCHES, RATES = (128, 256, 512, 1024), (5e-4, 1e-2)
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
        >>> from pushforward.tables.estimators.tune import tune
        >>> from pushforward.io.fit_options import FitOptions
        >>> once = FitOptions.check({"training": {"max_epochs": 1}})
        >>> tune(np.random.default_rng(0).normal(size=(60, 1)), options=once, n_trials=1).best
        0
    """
    optuna = package_of("tune", "optuna", "tune")
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
        bounds=data.bounds,
    )
    n = len(whole.rows)
    if n < LEAST_ROWS:
        raise ValueError(f"tune: expected {LEAST_ROWS} rows or more, to be split in three, got {n}.")
    rng = np.random.default_rng(seed)
    fresh, rest = np.split(rng.permutation(n), [min(round(FRESH * n), MOST_FRESH)])
    words = rng.integers(0, 2**32, size=(2, 2), dtype=np.uint32)
    search = _Search(take(whole, np.sort(rest)), options, words, max_seconds, clock)
    before = optuna.logging.get_verbosity()  # its log is set for the whole process
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=6)
        pruner = optuna.pruners.MedianPruner(FREE_TRIALS, FREE_EPOCHS)
        study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        study.enqueue_trial(search.space.defaults)
        while search.go_on(n_trials):
            attempt = search.run(study, optuna)
            if on_trial is not None:
                on_trial(attempt)
    finally:
        optuna.logging.set_verbosity(before)
    return search.judge(take(whole, np.sort(fresh)), whole.notes)


def take(prepared: Prepared, places: np.ndarray) -> Prepared:
    """Some rows of a prepared table."""
    condition = None if prepared.condition is None else prepared.condition[places]
    weights = None if prepared.weights is None else prepared.weights[places]
    return dataclasses.replace(prepared, encoded=prepared.encoded.take(places), condition=condition, weights=weights)


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
        own_rates = {"learning_rate": MaximumLikelihood.learning_rate, "batch_size": BATCH_SIZE}
        self.defaults = {"family": own, **own_rates, **{name: recipe[name] for name in SIZES}}
        self.sizes = {name: _among(values, recipe[name]) for name, values in SIZES.items()} if n_values else {}
        self.batches = sorted({size for size in BATCHES if 2 * size <= n} | {BATCH_SIZE})

    def suggest(self, trial: Any) -> dict[str, Any]:
        """The choices of a trial; an Optuna `Trial` makes them."""
        chosen = {"family": trial.suggest_categorical("family", self.families)}
        for name, values in self.sizes.items():
            if name == "bins" and FAMILIES[chosen["family"]][0] != "nsf":
                continue
            if isinstance(values, range):
                chosen[name] = trial.suggest_int(name, values[0], values[-1])
            else:
                chosen[name] = trial.suggest_categorical(name, values)
        chosen["learning_rate"] = trial.suggest_float("learning_rate", *RATES, log=True)
        chosen["batch_size"] = trial.suggest_categorical("batch_size", self.batches)
        return chosen


def _among(values: Sequence[Any], default: Any) -> Sequence[Any]:
    """The values with the default among them, as a range if they are one."""
    if isinstance(values, range):
        return range(min(values[0], default), max(values[-1], default) + 1)
    return tuple(sorted({*values, default}))


def options_of(chosen: dict[str, Any], options: FitOptions) -> FitOptions:
    """The options of a fit with these choices."""
    name, autoregressive = FAMILIES[chosen["family"]]
    flow = {key: chosen[key] for key in SIZES if key in chosen}
    flow |= {"name": name, "base": options.flow.base, "autoregressive": autoregressive}
    training = options.training.model_dump() | {key: chosen[key] for key in ("learning_rate", "batch_size")}
    return FitOptions.check({"data": options.data.model_dump(), "flow": flow, "training": training})


class _Search:
    """The trials of one search, one after the other. A mutable helper."""

    def __init__(self, prepared: Prepared, options: FitOptions, seeds: np.ndarray, budget: float, clock: Callable):
        self.prepared, self.options, self.seeds, self.clock = prepared, options, seeds, clock
        self.space = Space(len(layouts(prepared)[0].valued), len(prepared.rows))
        self.end = clock() + budget
        self.limit = min(budget, max(budget / TRIALS, LEAST_SECONDS))
        self.attempts: list[Attempt] = []
        self.defaults: Trained | None = None
        self.best: Trained | None = None
        self.best_number = -1
        self.first_score = 0.0  # seconds until a trial has its first score: less is no trial

    def go_on(self, n_trials: int | None) -> bool:
        """Whether there is another trial."""
        if not self.attempts:
            return True
        if self.attempts[-1].state == "interrupted" or len(self.attempts) == n_trials:
            return False
        return self.end - self.clock() > self.first_score

    def run(self, study: Any, optuna: Any) -> Attempt:
        """One trial, whatever becomes of it."""
        trial, began = study.ask(), self.clock()
        chosen = self.space.suggest(trial)
        state: State = "done"
        words, trained, seen = "", None, {}

        def callback(row: dict[str, float]) -> None:
            if not seen:
                taken = self.clock() - began
                self.first_score = min(taken, self.first_score or taken)
            epoch, nats = int(row["epoch"]), float(row["held_out_nats"])
            # Epochs, for steps of other batch sizes see other numbers of rows. A long epoch has several scores.
            if math.isfinite(nats) and epoch > max(seen, default=-1):
                seen[epoch] = nats
                trial.report(nats, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned

        try:
            trained = self._fit(options_of(chosen, self.options), callback)
        except optuna.TrialPruned:
            state = "stopped early"
        except (FitError, MemoryError, jax.errors.JaxRuntimeError) as error:
            state, words = "failed", " ".join(str(error).split())[:200] or type(error).__name__
        except KeyboardInterrupt:  # while compiling; later the fit keeps its best weights
            state, words = "interrupted", "before its first score"
        nats, error, steps = max(seen.values(), default=math.nan), math.nan, 0
        if trained is not None:
            verdict = trained.result.verdict
            steps = verdict.steps
            nats, error = (math.nan if v is None else v for v in (verdict.held_out_nats, verdict.standard_error))
            state = "interrupted" if verdict.status == "interrupted" else state
            if steps == 0 or not math.isfinite(nats):
                words = "no step within its time" if steps == 0 else "its held-out score is not finite"
                state, nats, trained = ("failed" if state == "done" else state), math.nan, None
        told = {"done": "COMPLETE", "stopped early": "PRUNED"}.get(state, "FAIL")
        study.tell(trial, nats if state == "done" else None, state=optuna.trial.TrialState[told])
        attempt = Attempt(len(self.attempts), state, chosen, nats, error, steps, self.clock() - began, words)
        self.attempts.append(attempt)
        if trained is not None:
            self.defaults = trained if attempt.number == 0 else self.defaults
            # Of an interrupted trial the weights are half trained: it counts only where there is no other.
            better = self.best is not None and state == "done" and nats > self.attempts[self.best_number].nats
            if self.best is None or better:
                self.best, self.best_number = trained, attempt.number
        return attempt

    def _fit(self, options: FitOptions, callback: Callable[[dict[str, float]], None]) -> Trained:
        keywords = options.keywords()
        named = {key: keywords[key] for key in ("n_layers", "width", "depth", "bins", "autoregressive")}
        chosen = {**named, **(keywords["flow_options"] or {})}
        return train(
            self.prepared,
            make_recipe(keywords["flow"], keywords["base"], chosen, len(self.prepared.rows)),
            self.seeds,
            validation=CHOOSING / (1 - FRESH),
            optimizer=Adam(keywords["learning_rate"], keywords["weight_decay"]),
            max_epochs=keywords["max_epochs"],
            progress=False,
            options=[
                Stopping(max(min(self.limit, self.end - self.clock()), 1.0)),
                Steps(keywords["batch_size"]),
                Reporting(callback),
            ],
        )

    def judge(self, fresh: Prepared, notes: Sequence[str]) -> Tuned:
        """The winner and the defaults on rows that no trial saw."""
        interrupted = self.attempts[-1].state == "interrupted"
        if self.best is None:
            if interrupted:
                raise KeyboardInterrupt
            raise FitError(f"tune: none of {len(self.attempts)} trials succeeded. The last: {self.attempts[-1].words}")
        own = self.best.model.score_encoded(fresh.encoded, fresh.condition).log_prob
        winner = self.attempts[self.best_number]
        gain = error = chosen_gain = math.nan
        if self.defaults is not None:
            same = self.best_number == 0
            other = own if same else self.defaults.model.score_encoded(fresh.encoded, fresh.condition).log_prob
            gain, error = map(float, mean_and_error(own - other, fresh.weights))
            chosen_gain = winner.nats - self.attempts[0].nats
        return Tuned(
            options=options_of(winner.choices, self.options),
            attempts=tuple(self.attempts),
            best=winner.number,
            chosen_gain=chosen_gain,
            fresh_rows=len(fresh.rows),
            fresh_nats=float(mean_and_error(own, fresh.weights)[0]),
            fresh_gain=gain,
            fresh_error=error,
            interrupted=interrupted,
            notes=tuple(notes),
        )
