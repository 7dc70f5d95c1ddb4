"""`FlowOutlierDetector`: unusual rows of a table, with p-values that hold what they say."""

from __future__ import annotations

import os
import warnings
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted

from pushforward._checks import message
from pushforward.anomalies.base import AbstractScore, FittedScore
from pushforward.anomalies.calibration import LARGEST, Calibration, split
from pushforward.anomalies.columns import VaryingColumns
from pushforward.anomalies.explanation import Explanation, explain
from pushforward.anomalies.rows import mostly_levels, rows_to_fit, rows_to_score, take
from pushforward.anomalies.scores import NegativeLogDensityScore, score_named
from pushforward.metrics import (
    DetectionQuality,
    DriftMartingale,
    FalseDiscoveryBound,
    benjamini_hochberg,
    detection_quality,
    false_discovery_bound,
    weighted_selection,
)
from pushforward.tables.errors import TableWarning
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.estimators.seeds import seed_number, seed_words


class FlowOutlierDetector(OutlierMixin, BaseEstimator):
    r"""Finds the rows of a table that are unlike those of the fit, by normalizing flows, with calibrated p-values.

    A score says how unusual a row is; conformal p-values say what that is worth: a clean row has $p \le \alpha$ with
    probability $\alpha$ at most, whatever the score. The rows of the fit are taken to be clean; where some are not, the
    p-values are too large and the promises still hold. Tables of mixed columns are read as by `FlowDensity`.

    Args:
        scores: What is unusual: a name in `pushforward.anomalies.SCORES`, an `AbstractScore`, or None for the default.
        contamination: Where `predict` cuts. `"auto"` flags a share `fpr` of clean rows. A float up to 0.5 flags that
            share of the rows of the fit, **whether they are anomalies or not**: 0.1 flags a tenth of clean rows.
        fpr: False-positive rate of `predict` where `contamination` is `"auto"`.
        calibration: `"split"` holds out rows for the calibration; `"cross"` fits a model to all rows but those of each
            fold, so that none is lost; `"auto"` holds out rows from 5,000 on.
        calibration_fraction: Share of the rows that `"split"` holds out, at most 5,000 rows.
        n_folds: Number of folds, and of models, of `"cross"`.
        random_state: Of the folds and the fits: an integer, a NumPy `RandomState` or `Generator`, or None for NumPy's
            global state.

    Attributes:
        models_: The fitted scores, one for each fold.
        calibration_: Their `Calibration`.
        calibration_rows_: Places `(n,)` in the table of the fit of the rows of `calibration_.scores`.
        columns_: Names of the columns of the table; None after a fit to an array.
        offset_: `predict` gives -1 where `score_samples` is below it.
        n_features_in_: Number of columns.
        feature_names_in_: Names of the columns, if the table had any.

    Source: Bates et al., 2023, Testing for outliers with conformal p-values, arXiv 2104.08279; `"cross"`: Vovk, 2015,
        Cross-conformal predictors, arXiv 1208.0806.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> from pushforward.anomalies import NegativeLogDensity
        >>> x = np.random.default_rng(0).normal(size=(300, 2))
        >>> flow = pf.FlowDensity(n_layers=2, width=8, max_epochs=5, n_members=1, verify=False)
        >>> detector = pf.FlowOutlierDetector(NegativeLogDensity(flow), calibration="split", random_state=0).fit(x)
        >>> detector.predict([[0.0, 0.0], [9.0, 9.0]]), detector.p_values([[9.0, 9.0]])
        (array([ 1, -1]), array([0.0164]))
    """

    models_: tuple[FittedScore, ...]
    calibration_: Calibration
    calibration_rows_: np.ndarray
    offset_: float
    n_features_in_: int
    columns_: tuple[str, ...] | None

    def __init__(
        self,
        scores: str | AbstractScore | None = None,
        *,
        contamination: Literal["auto"] | float = "auto",
        fpr: float = 0.01,
        calibration: Literal["auto", "split", "cross"] = "auto",
        calibration_fraction: float = 0.2,
        n_folds: int = 5,
        random_state: int | np.random.RandomState | np.random.Generator | None = None,
    ):
        self.scores = scores
        self.contamination = contamination
        self.fpr = fpr
        self.calibration = calibration
        self.calibration_fraction = calibration_fraction
        self.n_folds = n_folds
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> FlowOutlierDetector:
        """Learn what ordinary rows are like, and calibrate by rows that the model has not seen.

        Args:
            X: Clean or mostly clean rows: an array `(n, d)` of real numbers, or a table of any kind that
                `FlowDensity.fit` takes.
            y: Ignored.

        Raises:
            ValueError: An option is wrong, or the array is not numeric and finite; a `DataError`, which is one, for a
                table that cannot be modelled.
            FitError: Training diverged and could not be repaired.
        """
        self._check()
        score = score_named(self.scores)
        rows = rows_to_fit(self, X)
        words = seed_words(self.random_state, (1 + max(2, int(self.n_folds)),))
        rng = np.random.default_rng(words[0])
        folds = split(len(rows), self.calibration, self.calibration_fraction, self.n_folds, rng)
        note = mostly_levels(rows) if score.misled_by_levels else None
        if note:
            warnings.warn(note, TableWarning, stacklevel=2)
        models, found = [], []
        for seed, fitted, held_out in zip(words[1:], folds.fitted, folds.held_out, strict=False):
            model = score.fit(take(rows, fitted), random_state=int(seed))
            models.append(model)
            found.append(_finite(model(take(rows, held_out))))
        self.models_ = tuple(models)
        self.calibration_rows_ = np.concatenate(folds.held_out)
        numbers = np.repeat(np.arange(len(found)), [len(each) for each in found])
        kind = "split" if len(models) == 1 else "cross"
        self.calibration_ = Calibration(np.concatenate(found), numbers, kind)
        self._set_offset(None if self.contamination == "auto" else rows)
        return self

    def _check(self) -> None:
        name, share = "FlowOutlierDetector", self.contamination
        if share != "auto" and not (isinstance(share, float | np.floating) and 0 < share <= 0.5):
            fix = "'auto' keeps a false-positive rate instead."
            raise ValueError(message(name, "contamination 'auto' or a float above 0, up to 0.5", repr(share), fix))
        if not 0 < self.fpr < 1:
            raise ValueError(message(name, "fpr between 0 and 1", repr(self.fpr), "0.01 flags one clean row in 100."))

    def _set_offset(self, rows: Any) -> None:
        """Set where `predict` cuts: at a share of the rows of the fit, or without any at the false-positive rate."""
        if rows is not None:
            self.offset_ = float(np.percentile(-self._mean(rows), 100.0 * float(self.contamination)))
            return
        cut, rate = self.calibration_.cut(self.fpr)
        self.offset_ = -cut
        if rate > self.fpr:
            self._tell_floor(self.fpr, f"predict flags at {rate:.2g} instead")

    def _tell_floor(self, fpr: float, what: str) -> None:
        n = len(self.calibration_)
        text = (
            f"FlowOutlierDetector: no p-value is below 1/(n + 1) = {self.calibration_.floor:.2g} with n = {n} "
            f"calibration rows, so that a false-positive rate of {fpr:g} flags nothing; {what}. Pass at least "
            f"{int(np.ceil(1 / fpr)) - 1:,} rows, or a higher rate."
        )
        warnings.warn(text, TableWarning, stacklevel=4)

    @staticmethod
    def of_density(density: FlowDensity, X: Any = None, *, fpr: float = 0.01) -> FlowOutlierDetector:
        """A detector by the log-density of a fitted `FlowDensity`, without another fit.

        It is calibrated by clean rows, or without any by the held-out rows of the fit. Training stopped where these
        were most likely, so that new rows are a little more surprising and the false-positive rate is a little higher
        than it should be; clean rows have no such flaw.

        Args:
            density: A fitted density; of a conditional one, rows are unusual given their conditions.
            X: Clean rows that the fit has not seen, or None.
            fpr: False-positive rate of `predict`.

        Raises:
            ValueError: There are no rows to calibrate by.
        """
        check_is_fitted(density)
        detector = FlowOutlierDetector("log_density", fpr=fpr)
        detector._check()
        names = getattr(density, "feature_names_in_", None)
        vars(detector).update({} if names is None else {"feature_names_in_": names})
        detector.n_features_in_ = len(density.columns_)
        detector.columns_ = None if names is None and density.model_.plain else density.columns_
        detector.models_ = (NegativeLogDensityScore(density, VaryingColumns()),)
        if X is not None:
            detector._calibrate(detector._mean(X), "clean")
            return detector
        scores = density.held_out_scores_
        if not len(scores):
            fix = "Pass clean rows (--clean FILE), or fit with validation_fraction above 0."
            expected = "held-out rows in the density, or clean rows to calibrate by"
            raise ValueError(message("FlowOutlierDetector.of_density", expected, "neither", fix))
        detector._calibrate(_finite(-scores), "validation")
        return detector

    def calibrate(self, X: Any) -> FlowOutlierDetector:
        """Calibrate anew by clean rows, which the fit has not seen: p-values are by these rows alone.

        The models stay. Those of a cross-fit become one, whose score is their mean. `offset_` is the false-positive
        rate `fpr`, whatever `contamination` is.

        Args:
            X: Clean rows, of the kind that the fit had.
        """
        check_is_fitted(self)
        self._calibrate(self._mean(X), "clean")
        return self

    def _calibrate(self, scores: np.ndarray, kind: Literal["clean", "validation"]) -> None:
        self.calibration_ = Calibration(scores, np.zeros(len(scores), np.int64), kind)
        self.calibration_rows_ = np.arange(len(scores))
        self._set_offset(None)

    def _each(self, X: Any) -> np.ndarray:
        """The scores `(n, k)` of rows under each model; higher is more unusual."""
        rows = rows_to_score(self, X)
        return np.stack([_finite(model(rows)) for model in self.models_], axis=1)

    def _mean(self, X: Any) -> np.ndarray:
        return self._each(X).mean(axis=1)

    def each_score(self, X: Any) -> np.ndarray:
        """The scores of rows that calibration compares, `(n, k)`; higher is more unusual.

        After a cross-fit `k` is the number of models, else 1. It is what `watch` takes.

        Args:
            X: Rows, in any form that `fit` takes.
        """
        check_is_fitted(self)
        each = self._each(X)
        return each if self.calibration_.n_groups > 1 else each.mean(axis=1, keepdims=True)

    def score_samples(self, X: Any) -> np.ndarray:
        """The negative score of each row, `(n,)`: **lower is more abnormal**, as scikit-learn has it.

        With the score `"log_density"` it is the log-density in nats; after a cross-fit the mean over the models.

        Args:
            X: Rows, in any form that `fit` takes.
        """
        check_is_fitted(self)
        return -self._mean(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples(X) - offset_`, `(n,)`: negative where `predict` gives -1.

        Args:
            X: Rows.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """-1 for unusual rows and +1 for the others, `(n,)`.

        With `contamination="auto"` it flags where `p_values(X) <= fpr`. After a cross-fit it cuts the mean score of the
        models, which varies less than the calibration scores of one model each: it flags fewer clean rows than `fpr`.
        `select` says which rows are discoveries at a rate of your own.

        Args:
            X: Rows.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def explain(self, X: Any) -> list[Explanation]:
        """Why rows are unusual, the most surprising cell of each first; see `pushforward.anomalies.explain`.

        Args:
            X: Rows.

        Raises:
            ValueError: No score of the detector has a flow.
        """
        check_is_fitted(self)
        return explain(self, rows_to_score(self, X))

    def p_values(self, X: Any, *, weights: Any = None, calibration_weights: Any = None) -> np.ndarray:
        r"""The conformal p-value of each row, `(n,)`: small is unusual.

        A clean row has $P(p \le \alpha) \le \alpha$ if it is exchangeable with the calibration rows; see
        `metrics.conformal_p_values`, and for a cross-fit `metrics.cross_conformal_p_values`. If the rows come from
        another law than those of the fit, though they are clean, weights make up for it.

        Args:
            X: Rows.
            weights: Ratios `(n,)` of the density of these rows' law to that of the fit, up to a factor;
                `metrics.covariate_shift_weights` estimates them.
            calibration_weights: The same for the calibration rows, in the order of `calibration_rows_`.

        Raises:
            ValueError: Weights are of another length, or come with a cross-fit.
        """
        return self._p_values(self.each_score(X), weights, calibration_weights)

    def _p_values(self, each: np.ndarray, weights: Any, calibration_weights: Any) -> np.ndarray:
        return self.calibration_.p_values(each, calibration_weights, weights)

    def select(
        self,
        X: Any,
        *,
        fpr: float | None = None,
        fdr: float | None = None,
        weights: Any = None,
        calibration_weights: Any = None,
    ) -> np.ndarray:
        r"""The rows that are called anomalies, as flags `(n,)`, at one of two rates.

        Args:
            X: Rows.
            fpr: False-positive rate: of clean rows, this share is flagged at most. It flags where $p \le \alpha$.
            fdr: False discovery rate: of the flagged rows, this share is clean at most, on average. It is Benjamini and
                Hochberg's procedure, or with weights weighted conformal selection. Not proven after a cross-fit.
            weights: As in `p_values`.
            calibration_weights: As in `p_values`.

        Raises:
            ValueError: Not exactly one rate is given, or it is not between 0 and 1.

        Source: Bates et al., 2023, theorem 2, arXiv 2104.08279; with weights: Jin, Candès, 2023, arXiv 2307.09291.
        """
        rate = fdr if fpr is None else fpr
        if (fpr is None) == (fdr is None) or rate is None or not 0 < rate < 1:
            got = f"fpr={fpr!r}, fdr={fdr!r}"
            fix = "fpr=0.01 flags one clean row in 100; fdr=0.1 lets one flagged row in 10 be clean."
            raise ValueError(message("FlowOutlierDetector.select", "one rate, between 0 and 1", got, fix))
        each = self.each_score(X)
        p = self._p_values(each, weights, calibration_weights)
        if fpr is not None:
            if weights is None and fpr < self.calibration_.floor * (1 - 1e-12):
                self._tell_floor(fpr, "nothing is selected")
            return p <= fpr * (1 + 1e-12)
        if weights is None:
            return benjamini_hochberg(p, rate)
        return weighted_selection(self.calibration_.scores, each[:, 0], calibration_weights, weights, rate)

    def false_discoveries(self, n_rows: int, confidence: float = 0.9) -> FalseDiscoveryBound:
        """A bound on clean rows among flagged ones that holds for every cut at once, also one chosen after a look.

        Args:
            n_rows: Number of rows that are tested together.
            confidence: Probability with which it holds, over calibration and test rows.

        Returns:
            The bound; `bound.proportion(p_values, flags)` is the share of clean rows among the flagged, at most.

        Raises:
            ValueError: The calibration is a cross-fit, for which there is no such bound.
        """
        check_is_fitted(self)
        if self.calibration_.n_groups > 1:
            raise ValueError(self.calibration_.not_cross("a bound on false discoveries"))
        return false_discovery_bound(len(self.calibration_), n_rows, confidence)

    def watch(self, *, random_state: Any = 0) -> DriftMartingale:
        """A martingale that watches a stream of rows for drift: `watch.update(detector.each_score(rows))`.

        If the rows are exchangeable with those of the calibration, it ever reaches a capital of 100 with probability
        0.01 at most.

        Args:
            random_state: Seed of the uniform numbers that break ties.
        """
        check_is_fitted(self)
        return self.calibration_.watch(seed_number(random_state))

    def quality(self, X: Any, labels: Any) -> DetectionQuality:
        """AUROC and average precision on labelled rows, with standard errors; it warns of an AUROC below 0.5.

        Args:
            X: Rows.
            labels: Flags `(n,)` of the anomalies.

        Raises:
            ValueError: All rows are of one kind.
        """
        found = detection_quality(-self.score_samples(X), labels)
        if found.worse_than_chance:
            warnings.warn(worse_than_chance(found), TableWarning, stacklevel=2)
        return found

    def describe(self) -> str:
        """What the detector scores rows by, and what it is calibrated by, in one sentence."""
        check_is_fitted(self)
        by = {
            "split": "rows held out from the fit",
            "cross": f"all rows, by {len(self.models_)} models that each left out a part of them",
            "clean": "clean rows apart from the fit",
            "validation": "the rows that training stopped by",
        }[self.calibration_.kind]
        return f"The score is {self.models_[0].describe()}; it is calibrated by {len(self.calibration_):,} rows: {by}."

    def save(self, folder: str | os.PathLike, *, force: bool = False) -> None:
        """Write the fitted detector as a folder of JSON and safetensors: complete, or not at all.

        Args:
            folder: The target.
            force: Replace an existing model folder.

        Raises:
            FileExistsError: The folder exists and `force` is False.
        """
        from pushforward.anomalies.folder import save_detector

        check_is_fitted(self)
        save_detector(self, folder, force=force)

    @staticmethod
    def load(folder: str | os.PathLike) -> FlowOutlierDetector:
        """Read a detector that `save` or `pushforward fit --detector` wrote; nothing in the folder is trusted or run.

        The folder of a `FlowDensity` is read as `of_density` has it.

        Args:
            folder: The folder.

        Raises:
            FileNotFoundError: There is no such folder.
            UntrustedModelError: It is not what `pushforward` wrote.
            ValueError: The folder holds a density without held-out rows.
        """
        from pushforward.anomalies.folder import load_detector

        return load_detector(folder)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "offset_")


def worse_than_chance(found: DetectionQuality) -> str:
    """The warning of scores that point the wrong way."""
    return (
        f"the AUROC is {found.auroc:.3f} +- {found.auroc_error:.3f}, below 0.5: the anomalies look more ordinary than "
        "the clean rows, so that this score is no sign of them. Take other scores, or fit to rows that are clean."
    )


def _finite(scores: np.ndarray) -> np.ndarray:
    """Scores without infinities, which sums and files do not survive."""
    return np.clip(scores, -LARGEST, LARGEST)
