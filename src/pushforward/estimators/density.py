"""`FlowDensity`: a normalizing flow as a scikit-learn density estimator."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from pushforward.estimators.build import build_flow
from pushforward.estimators.columns import conditions_of, standardize_columns
from pushforward.estimators.frames import frame_kind, given_rows, to_frame, wanted_kind
from pushforward.estimators.rows import sample_rows, score_rows
from pushforward.io.model_folder import ModelParts, load_model, save_model
from pushforward.training import FitResult, Verdict, fit, in_data_units


class FlowDensity(DensityMixin, BaseEstimator):
    r"""The density of the rows of a table, by a normalizing flow: exact log-densities and new rows.

    Columns are standardised by the first bijection on the data's side, so that every density is in the units of the
    data. With `given`, it is the density of the other columns given these. Training runs in float32; scoring and
    sampling in float64.

    Args:
        flow: name in `pushforward.flows.ZOO`: `"nsf"`, `"maf"`, `"realnvp"`, `"nice"` or `"iaf"`.
        given: columns that are conditions, by name or position; None models all.
        n_layers: layers of the flow; None takes the default of `flow`, here and below, which measurement over real
            tables chose (`docs/explanation/flow_defaults.md`).
        width: units per hidden layer.
        depth: hidden layers of each network.
        bins: bins per spline, for `"nsf"`.
        autoregressive: autoregressive (the default) or coupling splines, for `"nsf"`.
        flow_options: further arguments of the zoo's function, such as `{"linear": "lu"}`.
        base: distribution of the latent: `"normal"`, `"student_t"` (for heavy tails) or `"diagonal_normal"`.
        max_epochs: passes over the rows at most; None chooses by the number of rows.
        max_seconds: time budget of a fit; it shortens the schedule.
        batch_size: rows per step; None chooses.
        learning_rate: of Adam; None takes the default of `pushforward.fit`.
        validation_fraction: share of the rows held out to stop early by; 0 holds out none.
        progress: shows progress: `"auto"` a bar on a terminal, False nothing.
        random_state: seed, `RandomState` or None, of the initial weights, the held-out rows and the batches.

    Attributes:
        flow_: the trained `Flow`, in the data's units; its condition, if any, is in the units of the given columns.
        result_: the `FitResult`; its flow is `flow_`.
        config_: name, arguments and base of the flow, as JSON would have them.
        columns_: names of all columns; `x0`, `x1`, ... for a table without names.
        given_: names of those that are conditions.
        n_features_in_: number of columns.
        feature_names_in_: names of the columns, if the table had any.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> density = pf.FlowDensity(n_layers=2, width=8, max_epochs=5, random_state=0).fit(x)
        >>> density.score_samples(x).shape, density.sample(3, random_state=0).shape
        ((200,), (3, 2))
    """

    def __init__(
        self,
        flow: str = "nsf",
        *,
        given: Sequence[str | int] | None = None,
        n_layers: int | None = None,
        width: int | None = None,
        depth: int | None = None,
        bins: int | None = None,
        autoregressive: bool | None = None,
        flow_options: Mapping[str, Any] | None = None,
        base: str = "normal",
        max_epochs: int | None = None,
        max_seconds: float | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        validation_fraction: float = 0.1,
        progress: Any = False,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.flow = flow
        self.given = given
        self.n_layers = n_layers
        self.width = width
        self.depth = depth
        self.bins = bins
        self.autoregressive = autoregressive
        self.flow_options = flow_options
        self.base = base
        self.max_epochs = max_epochs
        self.max_seconds = max_seconds
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.progress = progress
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> FlowDensity:
        """Fit the flow to a table.

        Args:
            X: `(n, d)`, two rows or more, numeric, finite.
            y: ignored.
            sample_weight: `(n,)`, not negative; a weight of 2 counts as the row twice.

        Raises:
            ValueError: the table is not numeric and finite, or a modelled column never varies, so that there is no
                density over it. (A given column may be constant.)
            FitError: training diverged and could not be repaired.
        """
        kind = frame_kind(X)
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
            X, weights = X[weights > 0], weights[weights > 0]
            if len(X) < 2:
                got = f"{len(X)} sample(s) of positive weight"
                raise ValueError(f"FlowDensity.fit: expected 2 rows of positive weight or more, got {got}.")
        names = getattr(self, "feature_names_in_", None)
        columns = tuple(map(str, names)) if names is not None else tuple(f"x{i}" for i in range(X.shape[1]))
        conditions = conditions_of(self.given, columns)
        others = [i for i in range(X.shape[1]) if i not in conditions]
        x, condition = X[:, others], X[:, conditions] if conditions else None
        units = standardize_columns(x, weights, [columns[i] for i in others])
        condition_units = None
        if condition is not None:
            condition_units = standardize_columns(condition, weights, [columns[i] for i in conditions], constant=True)
            condition = (condition - np.asarray(condition_units.loc.value)) / np.asarray(condition_units.scale.value)

        seeds = check_random_state(self.random_state).randint(0, 2**32, size=(2, 2), dtype=np.uint32)
        options = {"n_layers": self.n_layers, "width": self.width, "depth": self.depth, "bins": self.bins}
        options = {**options, "autoregressive": self.autoregressive, **(self.flow_options or {})}
        # Training is float32 also where the user has switched JAX to float64: twice as fast, and one compiled program.
        with jax.enable_x64(False):
            flow, self.config_ = build_flow(self.flow, self.base, options, len(others), len(conditions), seeds[0])
            result = fit(
                flow,
                x,
                condition=condition,
                weights=weights,
                key=jax.random.wrap_key_data(seeds[1], impl="threefry2x32"),
                validation=self.validation_fraction,
                preprocess=units,
                max_epochs=self.max_epochs,
                max_seconds=self.max_seconds,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                progress=self.progress,
            )
            flow = result.flow
            if condition_units is not None:
                flow = in_data_units(flow, None, condition_units)
        self.flow_, self.result_ = flow, dataclasses.replace(result, flow=flow)
        self.columns_, self.given_ = columns, tuple(columns[i] for i in conditions)
        self._kind, self._n_rows = kind, len(X)
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """The log-density of each row, `(n,)`, in nats and in the units of the data.

        With `given`, that of the other columns given these. It is a density: it may be positive, and multiplying a
        column by `a` lowers it by `log(a)`. A row's value does not depend on the other rows.

        Args:
            X: `(n, d)`, all columns of the fit, the given ones among them.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        conditions = conditions_of(self.given_, self.columns_)
        others = [i for i in range(X.shape[1]) if i not in conditions]
        return score_rows(self.flow_, X[:, others], X[:, conditions] if conditions else None)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The mean log-density per row, in nats: the (weighted) mean of `score_samples`.

        The mean, as in `GaussianMixture`; `KernelDensity.score` is the sum.

        Args:
            X: `(n, d)`.
            y: ignored.
            sample_weight: `(n,)`, not negative.
        """
        return float(np.average(self.score_samples(X), weights=sample_weight))

    def bits_per_dim(self, X: Any) -> float:
        r"""$-\text{score} / (D \ln 2)$, with $D$ the number of modelled columns: lower is better.

        Args:
            X: `(n, d)`.
        """
        score = self.score(X)
        return -score / ((len(self.columns_) - len(self.given_)) * math.log(2))

    def sample(self, n_samples: int = 1, *, given: Any = None, random_state: Any = None) -> Any:
        """Draw rows.

        Args:
            n_samples: how many, for each row of `given` if there are conditions.
            given: for a model with `given`: the conditions `(m, k)`, or one of them `(k,)`; the columns of a data
                frame are found by name, others may be there too.
            random_state: seed, `RandomState`, or None for other rows each time. The same seed gives the same rows,
                and a longer sample begins with the shorter one.

        Returns:
            Rows with the columns of the fit: a data frame if the model was fitted on one (or as `set_output` says),
            else an array `(n_samples, d)`. With `given`, `(m * n_samples, d)`, those of the first condition first,
            each with its condition in the given columns.

        Raises:
            ValueError: `given` is missing, superfluous, or of another shape.
        """
        check_is_fitted(self)
        if isinstance(n_samples, bool) or not hasattr(n_samples, "__index__") or n_samples.__index__() < 1:
            raise ValueError(f"FlowDensity.sample: expected n_samples an integer >= 1, got {n_samples!r}.")
        n = n_samples.__index__()
        seed = check_random_state(random_state).randint(0, 2**32, size=2, dtype=np.uint32)
        if (given is not None) != bool(self.given_):
            expected = f"given, rows of {list(self.given_)}" if self.given_ else "no given (the model is unconditional)"
            raise ValueError(f"FlowDensity.sample: expected {expected}, got {'one' if given is not None else 'none'}.")
        condition = None if given is None else given_rows(given, self.given_)
        drawn = sample_rows(self.flow_, seed, n, condition)
        if condition is not None:
            conditions = conditions_of(self.given_, self.columns_)
            others = [i for i in range(len(self.columns_)) if i not in conditions]
            rows = np.empty((len(drawn), len(self.columns_)))
            rows[:, others], rows[:, conditions] = drawn, np.repeat(condition, n, axis=0)
            drawn = rows
        return to_frame(drawn, self.columns_, wanted_kind(getattr(self, "_output", None), self._kind))

    def set_output(self, *, transform: Literal["default", "pandas", "polars"] | None = None) -> FlowDensity:
        """The kind of table that `sample` returns.

        Args:
            transform: `"pandas"`, `"polars"`, or `"default"`: as the table of the fit was. None changes nothing. (The
                argument has scikit-learn's name, so that a `Pipeline` can pass it on.)
        """
        if transform not in (None, "default", "pandas", "polars"):
            expected = "'default', 'pandas', 'polars' or None"
            raise ValueError(f"FlowDensity.set_output: expected transform {expected}, got {transform!r}.")
        if transform is not None:
            self._output = transform
        return self

    def save(self, folder: str | os.PathLike, *, force: bool = False) -> None:
        """Write the fitted model as a folder of JSON and safetensors: complete, or not at all.

        Args:
            folder: the target.
            force: replace an existing model folder.

        Raises:
            FileExistsError: the folder exists and `force` is False.
        """
        check_is_fitted(self)
        parts = ModelParts(
            name=self.config_["flow"],
            arguments=self.config_["arguments"],
            base=self.config_["base"],
            flow=self.flow_,
            columns=self.columns_,
            given=self.given_,
            named=hasattr(self, "feature_names_in_"),
            rows=self._n_rows,
            history=self.result_.history,
            verdict=dataclasses.asdict(self.result_.verdict),
        )
        save_model(parts, folder, force=force)

    @staticmethod
    def load(folder: str | os.PathLike) -> FlowDensity:
        """Read a model that `save` or the command line wrote; nothing in the folder is trusted or run.

        Args:
            folder: the model folder.

        Raises:
            FileNotFoundError: there is no such folder.
            UntrustedModelError: it is not what `pushforward` wrote.
        """
        parts = load_model(folder)
        options = {name: value for name, value in parts.arguments.items() if name not in ("dim", "condition_dim")}
        density = FlowDensity(parts.name, given=list(parts.given) or None, flow_options=options, base=parts.base)
        density.flow_ = parts.flow
        density.result_ = FitResult(parts.flow, dict(parts.history), Verdict(**parts.verdict))
        density.config_ = {"flow": parts.name, "arguments": dict(parts.arguments), "base": parts.base}
        density.columns_, density.given_ = parts.columns, parts.given
        named = {"feature_names_in_": np.asarray(parts.columns, dtype=object)} if parts.named else {}
        vars(density).update(named, n_features_in_=len(parts.columns))
        density._kind, density._n_rows = None, parts.rows
        return density

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "flow_")
