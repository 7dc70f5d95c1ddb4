"""`FlowDensity`: a normalizing flow as a scikit-learn density estimator."""

from __future__ import annotations

import dataclasses
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import check_is_fitted

from pushforward._doors import behind
from pushforward.checking import CheckReport
from pushforward.inference.conditioning import condition_on
from pushforward.inference.marginals import marginal
from pushforward.metrics import Baseline, Gain
from pushforward.objectives import AbstractObjective
from pushforward.tables.encoding import Encoded
from pushforward.tables.errors import TableWarning
from pushforward.tables.estimators import conditional
from pushforward.tables.estimators.conditioned import condition_table, marginal_table
from pushforward.tables.estimators.drawing import draw
from pushforward.tables.estimators.filled import Filled
from pushforward.tables.estimators.filling import fill_table
from pushforward.tables.estimators.fitting import fit_rows
from pushforward.tables.estimators.held_out import HeldOut
from pushforward.tables.estimators.intake import rows_to_score
from pushforward.tables.estimators.pages import page_of
from pushforward.tables.estimators.seeds import seed_number
from pushforward.tables.estimators.stored import fill, parameters_of, to_parts
from pushforward.tables.estimators.verify import check_model, status_of
from pushforward.tables.estimators.words import meaning
from pushforward.tables.modelling.folder import load_model, save_model
from pushforward.tables.modelling.preparation import Prepared
from pushforward.tables.modelling.rows import Scores
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.reading.cells import Cells
from pushforward.tables.schema import TableSchema
from pushforward.training import FitResult
from pushforward.training.tracking import AbstractTracker


class FlowDensity(DensityMixin, BaseEstimator):
    r"""The density of the rows of a table, by a normalizing flow: exact log-densities and new rows.

    Columns are standardised by the first bijection on the data's side, so that every density is in the units of the
    data. With `given`, it is the density of the other columns given these. Training runs in float32; scoring and
    sampling in float64.

    Args:
        flow: name in `pushforward.flows.ZOO`, such as `"nsf"` or `"maf"`; `pushforward.flows.describe()` lists them.
        given: columns that are conditions, by name or position; None models all.
        order: names of the columns that the model has first, in this order, so that what is conditioned on later
            (`pf.condition_on`) is exact; it takes an autoregressive flow. Columns of levels come before those of
            numbers in any case. None leaves the order to the flow.
        n_layers: layers of the flow; None takes the default of `flow`, here and below, which measurement over real
            tables chose (`docs/explanation/flow_defaults.md`).
        width: units per hidden layer.
        depth: hidden layers of each network.
        bins: bins per spline, for `"nsf"`.
        autoregressive: autoregressive (the default) or coupling splines, for `"nsf"`.
        flow_options: further arguments of the zoo's function, such as `{"linear": "lu"}`.
        base: Distribution of the latent: `"normal"`, `"student_t"` (for heavy tails), `"diagonal_normal"` or
            `"multivariate_normal"` (a trained normal of full covariance).
        objective: what is minimised, as an `AbstractObjective` or its name in `objectives.OBJECTIVES`; None is what the
            flow is made for: maximum likelihood, `"flow_matching"` or `"denoising"`.
        schema: what the columns are: a `TableSchema`, its JSON as a dict, or the path of such a file; None detects it
            in tables, and takes every column of an array as real numbers.
        missing: `"error"`; `"drop"` leaves out rows with missing values; `"model"` fits a model in which cells may be
            missing.
        bounds: which bounds numbers of a table have whose columns are detected: `"natural"` where a bound is plausible,
            by the name or by how the numbers end; `"observed"` the smallest and the largest; `"none"`. Samples never
            leave them.
        unseen: what happens to a condition with a level that the fit never saw: `"error"`, or `"other"`, which scores
            and samples it as the levels that were too rare for a probability of their own.
        na: values that mean that a cell is missing, such as `[99, -999, "n.d."]`.
        decimal: `","` reads numbers that are written as 1.234,5.
        strip: characters that are left out of numbers that are written as text, such as `"$%"`; 45% is 45.
        verify: check the trained model and compare it with simple densities, which takes some ten seconds; False leaves
            that out, for grid searches.
        n_members: models of the same architecture that are trained at once, each without a part of the rows, and whose
            densities are averaged; 1 is a model alone. None is 5 for at most 1000 rows, where `objective`, `max_epochs`
            and `validation_fraction` are left to the library too and the flow is a coupling or autoregressive, else 1.
        max_epochs: passes over the rows at most; None chooses by the number of rows.
        max_seconds: time budget of a fit; it shortens the schedule.
        batch_size: rows per step; None chooses.
        learning_rate: of Adam, at the top of its schedule; None takes what measurement chose, 8e-3 (4e-3 for
            flow matching and denoising).
        weight_decay: decoupled weight decay; None takes what measurement chose, 0.3 (0 for these).
        validation_fraction: share of the rows held out to stop early by; 0 holds out none.
        progress: shows progress: `"auto"` a bar on a terminal, False nothing.
        random_state: of the initial weights, the held-out rows and the batches: an integer, a NumPy `RandomState` or
            `Generator`, or None for NumPy's global state.

    Attributes:
        flow_: the trained `Flow`, in the data's units; its condition, if any, is in the units of the given columns.
        result_: the `FitResult`; its flow is `flow_`.
        config_: name, arguments and base of the flow, as JSON would have them.
        columns_: names of all columns; `x0`, `x1`, ... for a table without names.
        given_: names of those that are conditions.
        notes_: remarks on the table and the model, a sentence each, which `fit` gave as `pushforward.TableWarning`.
        n_rows_left_out_: number of rows of the table that were not fitted, for missing values or a weight of 0.
        baselines_: simple densities on the held-out rows, if `verify`.
        gains_: what the model gains over each of them.
        checks_: the `CheckReport` of the trained model, if `verify`.
        n_features_in_: number of columns.
        feature_names_in_: names of the columns, if the table had any.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> density = pf.FlowDensity(n_layers=2, width=8, max_epochs=5, verify=False, random_state=0).fit(x)
        >>> density.score_samples(x).shape, density.sample(3, random_state=0).shape
        ((200,), (3, 2))
    """

    notes_: tuple[str, ...]
    n_rows_left_out_: int
    held_out_: np.ndarray
    _held_out: HeldOut | np.ndarray
    baselines_: tuple[Baseline, ...]
    gains_: tuple[Gain, ...]
    checks_: CheckReport | None
    _kind: str | None
    _n_rows: int

    def __init__(
        self,
        flow: str = "nsf",
        *,
        given: Sequence[str | int] | None = None,
        order: Sequence[str] | None = None,
        n_layers: int | None = None,
        width: int | None = None,
        depth: int | None = None,
        bins: int | None = None,
        autoregressive: bool | None = None,
        flow_options: Mapping[str, Any] | None = None,
        base: str = "normal",
        objective: str | AbstractObjective | None = None,
        schema: TableSchema | Mapping[str, Any] | str | os.PathLike | None = None,
        missing: Literal["error", "drop", "model"] = "error",
        bounds: Literal["observed", "natural", "none"] = "natural",
        unseen: Literal["error", "other"] = "error",
        na: Sequence[str | float] | None = None,
        decimal: Literal[".", ","] = ".",
        strip: str | None = None,
        verify: bool = True,
        n_members: int | None = None,
        max_epochs: int | None = None,
        max_seconds: float | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        validation_fraction: float = 0.1,
        progress: Any = False,
        random_state: int | np.random.RandomState | np.random.Generator | None = None,
    ):
        self.flow = flow
        self.given = given
        self.order = order
        self.n_layers = n_layers
        self.width = width
        self.depth = depth
        self.bins = bins
        self.autoregressive = autoregressive
        self.flow_options = flow_options
        self.base = base
        self.objective = objective
        self.schema = schema
        self.missing = missing
        self.bounds = bounds
        self.unseen = unseen
        self.na = na
        self.decimal = decimal
        self.strip = strip
        self.verify = verify
        self.n_members = n_members
        self.max_epochs = max_epochs
        self.max_seconds = max_seconds
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.progress = progress
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        checkpoint: str | os.PathLike | None = None,
        resume: bool = False,
        tracker: AbstractTracker | Sequence[AbstractTracker] | None = None,
        on_prepared: Callable[[Prepared], None] | None = None,
        stream: bool | None = None,
        devices: Any = None,
    ) -> FlowDensity:
        """Fit the model to a table.

        Args:
            X: an array `(n, d)`, or a table of any kind that `pushforward.tables.read_cells` reads: a data frame, a
                PyArrow table, a dict of columns, a path, a glob or folder of files, a `pyarrow.dataset`; two rows or
                more.
            y: ignored.
            sample_weight: `(n,)`, not negative; a weight of 2 counts as the row twice. Of files that are streamed, the
                name of the column that holds them.
            checkpoint: folder for checkpoints, from which a fit that was killed goes on; see `pushforward.fit`.
            resume: go on from there.
            tracker: gets the learning curve as it grows.
            on_prepared: called with what the table was taken for, before training begins; the remarks on the table
                are its to tell, and are no warnings then.
            stream: whether files are read in pieces while the model trains, so that they may be larger than memory;
                None does so from 1 GiB of numbers on (8 bytes each). What the columns are is found in one pass: counts
                of levels, gaps and bounds are exact, steps, atoms and quantiles are those of 262,144 random rows.
            devices: devices that share the rows of each batch, as for `pushforward.fit`: `"all"`, a number, a
                `jax.sharding.Mesh` or `training.Devices(...)`.

        Raises:
            ValueError: an array is not numeric and finite, or holds a column that never varies; a `DataError`, which is
                one, for a table that cannot be modelled: missing values where `missing` is `"error"`, no column left.
            FitError: training diverged and could not be repaired.
        """
        how: dict[str, Any] = {"checkpoint": checkpoint, "resume": resume, "tracker": tracker, "devices": devices}
        fit_rows(self, X, sample_weight, on_prepared=on_prepared, stream=stream, **how)
        return self

    def _keep(self, model: TableModel, result: FitResult) -> None:
        self.model_, self.schema_ = model, model.schema
        self.flow_ = model.as_flow() or model.distribution
        self.result_ = dataclasses.replace(result, flow=self.flow_)
        self.config_ = {"flow": model.recipe.flow, "arguments": dict(model.recipe.arguments), "base": model.recipe.base}
        self.columns_, self.given_ = model.schema.names, model.given

    @property
    def held_out_scores_(self) -> np.ndarray:
        """Log-probabilities `(n,)` of rows that the model was not trained on, at most 5,000; a model folder keeps them.

        Each row of an ensemble is scored by the member that has not seen it. The fit stopped where these rows were
        most likely, so that new rows are a little less so.
        """
        check_is_fitted(self)
        if isinstance(self._held_out, HeldOut):
            self._held_out = self._held_out.scores()
        return self._held_out

    def table_of(self, X: Any) -> Cells | np.ndarray:
        """A table as the model takes it, checked as scikit-learn has it.

        Args:
            X: an array with the columns of the fit, or a table with at least the modelled ones, in any order.
        """
        check_is_fitted(self)
        return rows_to_score(self, X)

    def encode(self, X: Any) -> tuple[Encoded, np.ndarray | None]:
        """The rows of a table and their conditions as the model takes them, with a warning of levels never seen.

        Args:
            X: as in `table_of`.
        """
        encoded, condition = self.model_.encode(self.table_of(X), self.unseen)
        for name, words in encoded.unseen.items():
            text = f"'{name}' holds levels that the fit never saw, such as {', '.join(words[:3])}."
            warnings.warn(text, TableWarning, stacklevel=3)
        return encoded, condition

    def score_samples(self, X: Any) -> np.ndarray:
        """The log-density of each row, `(n,)`, in nats and in the units of the data.

        With `given`, that of the other columns given these. It is a density: it may be positive, and multiplying a
        column by `a` lowers it by `log(a)`; of columns with levels it is a log-mass. A row's value does not depend on
        the other rows. `score_parts` gives the parts apart.

        Args:
            X: `(n, d)`, all columns of the fit, the given ones among them.
        """
        return self.score_parts(X).log_prob

    def row_status(self, X: Any) -> np.ndarray:
        """How far the score of each row can be trusted: `ok`, `tail`, `extrapolated` or `unconverged`.

        Args:
            X: as in `score_samples`.
        """
        encoded, condition = self.encode(X)
        scores, walk = self.model_.score_seeing(encoded, condition)
        return status_of(self.model_, encoded, condition, scores.log_prob, walk)

    def check(self, X: Any = None, *, random_state: Any = 0) -> CheckReport:
        """Check the trained model: round trip, log-determinants, normalisation, latents, precision and more.

        Args:
            X: rows, best ones that the fit has not seen; None checks the model on its samples.
            random_state: seed of all draws: an integer, `RandomState`, `Generator` or None.

        Raises:
            ValueError: a model with conditions is checked without rows.
        """
        check_is_fitted(self)
        if X is None and self.given_:
            raise ValueError(f"FlowDensity.check: expected rows, for the model is given {list(self.given_)}. Pass X.")
        encoded, condition = (None, None) if X is None else self.encode(X)
        return check_model(self.model_, encoded, condition, seed=seed_number(random_state))

    def report(self, X: Any = None, *, missing: Literal["error", "drop"] = "error", random_state: Any = 0) -> Any:
        """A report on the model as one page of HTML: `density.report(X).save("report.html")`.

        It holds the verdict, data and model over each other, pairs, correlations, simple densities, checks, learning
        curve, latents, the least likely rows and samples; a notebook shows its head.

        Args:
            X: rows, best ones that the fit has not seen; None reports on the fit alone.
            missing: `"drop"` leaves out rows with missing values that the model has no state for.
            random_state: seed of all draws.

        Returns:
            A `pushforward.report.Report`.

        Raises:
            DataError: the rows are not of the model.
        """
        check_is_fitted(self)
        return behind("report")(self, X, seed=seed_number(random_state), missing=missing)

    def compared(self) -> list[str]:
        """How simple densities do on the held-out rows, and what the model gains over each, a sentence each."""
        check_is_fitted(self)
        gains = {gain.name: gain.sentence for gain in self.gains_}
        return [gains.get(baseline.name, baseline.sentence) for baseline in self.baselines_]

    def meaning(self) -> list[str]:
        """What `score_samples` is for this model, a sentence for each of its parts."""
        check_is_fitted(self)
        return meaning(self.model_)

    def score_parts(self, X: Any) -> Scores:
        """The log-probability of each row in its parts, each `(n,)` in nats.

        `mass` is the log-probability of the states: levels, atoms, missing or not. `density` is the log-density of the
        numbers given the states, whole numbers counting by their mass; where numbers are rounded or absent it is a
        lower bound, averaged over draws, with the standard error `error`. `log_prob` is their sum.

        Args:
            X: as in `score_samples`.
        """
        return self.model_.score_encoded(*self.encode(X))

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

    def sample(
        self,
        n_samples: int = 1,
        *,
        given: Any = None,
        random_state: Any = None,
        clip: Literal["observed"] | None = None,
    ) -> Any:
        """Draw rows.

        Args:
            n_samples: how many, for each row of `given` if there are conditions.
            given: for a model with `given`: the conditions `(m, k)`, or one of them `(k,)`; the columns of a data
                frame are found by name, others may be there too.
            random_state: an integer, a NumPy `RandomState` or `Generator`, or None for other rows each time. The same
                seed gives the same rows, and a longer sample begins with the shorter one.
            clip: `"observed"` holds every number to the range of the data; None warns if samples lie far beyond it.

        Returns:
            Rows with the columns of the fit: a data frame if the model was fitted on one (or as `set_output` says),
            else an array `(n_samples, d)`. With `given`, `(m * n_samples, d)`, those of the first condition first,
            each with its condition in the given columns.

        Raises:
            ValueError: `given` is missing, superfluous, or of another shape.
        """
        check_is_fitted(self)
        return draw(self, n_samples, given, random_state, clip)

    def fill(self, X: Any, n_draws: int = 20, *, random_state: Any = None) -> Filled:
        r"""Fill the gaps of a table: draws of the missing cells of each row given its observed ones.

        Draws come from $p(x_\text{missing} \mid x_\text{observed})$, and, where the model knows gaps
        (`missing="model"`), given that no cell is missing. They are exact where the missing columns come last in the
        model's order (`order=`). Otherwise a network, trained once on draws of the model, proposes them, and they are
        resampled by $p / q$; a row whose weights are poor keeps its gaps.

        Args:
            X: a table with the columns of the fit, of any kind that `score_samples` takes; NaN or null is a gap.
            n_draws: number of completed tables; an interval of 90 % takes 20 or more.
            random_state: seed of the draws: an integer, `RandomState`, `Generator` or None.

        Returns:
            A `Filled`: `tables`, `median()`, `interval(level)`, and the `report` of every row.

        Raises:
            DataError: a column is missing altogether, or a cell holds something else than its column.

        Source: Strauss, Oliva, 2021, arXiv 2102.04426 (conditionals of any cells); Vehtari et al., 2024,
        arXiv 1507.02646 (the weights' index).
        """
        check_is_fitted(self)
        return fill_table(self, X, n_draws, random_state)

    def pdf_grid(self, X: Any, column: str | None = None, grid: Any = None) -> np.ndarray:
        r"""The densities $p(y_j \mid x_i)$ of a model of one column given the others, `(m, g)`, in one over its units.

        Args:
            X: conditions: a table with the given columns, or an array of them or of all columns; None without any.
            column: name of the column that is modelled; None takes it.
            grid: values of that column `(g,)`. At a whole number, a level or an atom it is a mass.

        Raises:
            ValueError: the model has several columns, or `column` is another.
        """
        check_is_fitted(self)
        return conditional.pdf_grid(self, X, column, grid)

    def pit(self, X: Any, *, random_state: Any = 0) -> np.ndarray:
        r"""The probability integral transform of each row, `(n,)`: uniform if the model is right, NaN where missing.

        $F(y_i \mid x_i)$ by the trapezium rule on a mesh that reaches beyond the data by half their range; where $y_i$
        has a mass, $u F(y_i) + (1 - u) F(y_i^-)$ with a uniform $u$.

        Args:
            X: rows with the modelled column and the conditions.
            random_state: of $u$.

        Raises:
            ValueError: the model has several columns, or one without an order.

        Source: Dawid, 1984, doi 10.2307/2981683; Czado, Gneiting, Held, 2009, sec. 2, doi
        10.1111/j.1541-0420.2009.01191.x.
        """
        check_is_fitted(self)
        conditional.check_ordered(self.model_.layout, "FlowDensity.pit")
        rng = np.random.default_rng(seed_number(random_state))
        return conditional.over_rows(self, X, lambda found, y: found.pit(y, rng))

    def cde_loss(self, X: Any) -> float:
        r"""$\frac1n \sum_i \left(\int p(y \mid x_i)^2\,dy - 2\,p(y_i \mid x_i)\right)$: lower is better.

        Up to a constant it is the integrated squared error of the conditional density. Masses of levels and atoms are
        summed instead.

        Args:
            X: rows with the modelled column and the conditions.

        Source: Izbicki, Lee, 2017, eq. 6, arXiv 1704.08095.
        """
        check_is_fitted(self)
        squares = conditional.over_rows(self, X, lambda found, y: found.squared())
        return float(np.mean(squares - 2 * np.exp(self.score_samples(X))))

    def coverage(self, X: Any, levels: Sequence[float] = conditional.LEVELS, *, random_state: Any = 0) -> np.ndarray:
        """The share of rows inside the central interval of each level: that level itself if the model is right.

        Args:
            X: rows with the modelled column and the conditions.
            levels: probabilities between 0 and 1.
            random_state: as in `pit`, from which it is counted.
        """
        return conditional.central_coverage(self.pit(X, random_state=random_state), levels)

    def set_output(self, *, transform: Literal["default", "pandas", "polars", "pyarrow"] | None = None) -> FlowDensity:
        """The kind of table that `sample` returns.

        Args:
            transform: `"pandas"`, `"polars"`, `"pyarrow"`, or `"default"`: as the table of the fit was. None changes
                nothing. (The argument has scikit-learn's name, so that a `Pipeline` can pass it on.)
        """
        if transform not in (None, "default", "pandas", "polars", "pyarrow"):
            expected = "'default', 'pandas', 'polars', 'pyarrow' or None"
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
        save_model(to_parts(self), folder, force=force)

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
        density = FlowDensity(**parameters_of(parts))
        fill(density, parts)
        return density

    # What notebooks show; scikit-learn's `display` decides whether.
    _html_repr = page_of

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "flow_")


condition_on.register(FlowDensity, condition_table)
marginal.register(FlowDensity, marginal_table)
