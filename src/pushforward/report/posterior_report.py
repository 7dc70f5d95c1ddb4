"""The reports on posteriors: of a simulator's parameters (`NPE`), and of a density up to its constant (`infer`)."""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np

from pushforward.inference import NLE, NPE, Inference, JointPosterior, calibrate
from pushforward.inference.calibration import Calibration
from pushforward.metrics.ranks import GRID, LEVEL, ecdf_band
from pushforward.plotting.columns import Pictured, pictured
from pushforward.report.canvas import Scales, figure, legend
from pushforward.report.charts import column_chart, curves
from pushforward.report.html import Html, csv_of, download, number, table_of, tag
from pushforward.report.page import Report, Section, Standing, sentences
from pushforward.report.pair_chart import pair_chart
from pushforward.report.run_section import quoted, run_section
from pushforward.report.table_quality import curve_section
from pushforward.tables.errors import DataError
from pushforward.tables.pairs import names_of_x, observations, pairs

# Draws of the corner plot, and parameters in it.
DRAWS, MOST = 2000, 6
LEVELS = (0.05, 0.5, 0.95)


def posterior_report(
    posterior: NPE | NLE | JointPosterior, data: Any, *, given: Any, seed: int, name: str | None
) -> Report:
    """Report on a posterior of a simulator's parameters.

    That of a learned likelihood is drawn from by chains, which take seconds for each observation: it is shown at one
    observation, and not judged by the held-out simulations.

    Args:
        posterior: Fitted posterior.
        data: Held-out simulations: a table, or a pair of arrays `(theta, x)`.
        given: A table with one observation, or an array; None takes the first of the held-out simulations.
        seed: Seed of all draws.
        name: Name of the posterior, such as its folder.

    Raises:
        DataError: There are no held-out simulations, or too few.
    """
    start = time.monotonic()
    if data is None:
        raise DataError("missing", "The report on a posterior needs held-out simulations. Pass DATA.")
    theta, x = data if isinstance(data, tuple) else pairs(posterior, data)
    by_chains = isinstance(posterior, NLE)
    names, truth = list(posterior.prior_.names), None
    if given is None:
        place, truth, where = x[0], theta[0], "the first of the held-out simulations"
    else:
        seen = np.asarray(given, np.float64) if isinstance(given, np.ndarray) else observations(posterior, given)
        place, where = seen.reshape(-1, *x.shape[1:])[0], "the observation"
    try:
        observed = None if given is None else place
        key = jax.random.key(seed)
        found = None if by_chains else calibrate(posterior, theta, x, key=key, observed=observed)
    except ValueError as error:
        raise DataError("one-row", str(error)) from error
    draws = posterior.sample(DRAWS, x=place, key=jax.random.key(seed))
    prior = posterior.prior_.sample(DRAWS, np.random.default_rng(seed))
    failed = [] if found is None else [test.name for test in found.tests if not test.passed]
    judged = "The posterior was not judged by the simulations, for each takes chains: pf.calibrate does it."
    if found is not None:
        judged = f"No test objects to the posterior, on {found.n_pairs:,} simulations that it has not seen."
    verdict = (
        f"The posterior fails {', '.join(failed)}: do not trust its widths." if failed else judged,
        _narrowing(names, prior, draws, where),
        posterior.result_.verdict.text,
    )
    kind = f"posterior by {posterior.flow}" if isinstance(posterior, NPE) else type(posterior).__name__
    trained = getattr(posterior, "n_simulations_", None)
    about = {"model": name, "kind": kind, "simulations": None if trained is None else f"{trained:,}",
             "failed simulations": posterior.n_failed_ or None, "parameters": ", ".join(names),
             "members": getattr(posterior.distribution_, "size", None),
             "observed": ", ".join(names_of_x(posterior))}  # fmt: skip
    command = quoted("pushforward", "report", name or "MODEL", "HELD_OUT", "--seed", seed, "--out", "report.html")
    sections = [
        _corner(names, prior, draws, truth, where, seed),
        None if found is None else _tests(found),
        curve_section(posterior.result_),
        run_section(about, [command], time.monotonic() - start, seed),
    ]
    verdict_of_fit = posterior.result_.verdict
    return Report(
        title=f"{name or 'A posterior'}: {', '.join(names[:6])} given a simulation",
        standing="bad" if failed else "mind" if found is None or found.notes else "good",
        verdict=verdict,
        key_figures=[
            ("Simulations", "n/a" if trained is None else f"{trained:,}", f"{len(names)} parameters"),
            *_figures(found, failed),
            ("Held-out log-density", number(verdict_of_fit.held_out_nats),
             f"± {number(verdict_of_fit.standard_error, 2)} nats"),
        ],
        sections=tuple(each for each in sections if each is not None),
        facts={"model": name, "kind": "posterior", "verdict": list(verdict),
               "calibrate": None if found is None else found.to_json(), "seed": seed},
    )  # fmt: skip


def _figures(found: Calibration | None, failed: list[str]) -> list[tuple[str, str, str]]:
    """What the held-out simulations say, at the top of the page."""
    if found is None:
        return [("Tests passed", "none made", "pf.calibrate makes them")]
    return [
        ("Held-out pairs", f"{found.n_pairs:,}", f"{found.n_needed:,} see small errors"),
        ("Tests passed", f"{len(found.tests) - len(failed)} of {len(found.tests)}", "ranks, coverage, TARP"),
    ]


def inference_report(inference: Inference, *, seed: int, name: str | None) -> Report:
    """Report on the answer of `infer`.

    Args:
        inference: The answer.
        seed: Seed of the choice of points.
        name: Name of the target.
    """
    start = time.monotonic()
    columns = inference.columns()
    draws = np.stack(list(columns.values()), axis=1)
    standing: Standing = "good" if inference.verdict == "trustworthy" else "mind"
    if inference.verdict.startswith("do not trust"):
        standing = "bad"
    most = float(np.max(inference.r_hat))
    verdict = (
        f"The verdict of the inference is: {inference.verdict}.".replace("..", "."),
        f"log Z is {number(inference.log_z, 5)} ± {number(inference.log_z_error, 2)} nats by the bridge, "
        f"{number(inference.log_z_importance.value, 5)} ± {number(inference.log_z_importance.error, 2)} by importance "
        f"sampling and {number(inference.log_z_ladder, 5)} by the ladder.",
        f"Importance draws have an effective share of {inference.ess_fraction:.1%} and a Pareto k of "
        f"{inference.pareto_k:.2f}; the largest R-hat is {number(most, 4)}.",
    )
    about = {"target": name, "parameters": len(inference.names), "draws": f"{len(draws):,}", "status": inference.status,
             "evaluations": f"{inference.n_evaluations:,}", "seconds": f"{inference.seconds:.1f}"}  # fmt: skip
    r_hat = [[each, float(value)] for each, value in zip(inference.names, inference.r_hat, strict=True)]
    return Report(
        title=f"{name or 'A posterior'}: {len(columns)} parameters",
        standing=standing,
        verdict=verdict,
        key_figures=[
            ("log Z", number(inference.log_z, 5), f"± {number(inference.log_z_error, 2)} nats"),
            ("Effective share", f"{inference.ess_fraction:.1%}", "of importance draws"),
            ("Pareto k", number(inference.pareto_k, 2), "above 0.7 is unreliable"),
            ("Largest R-hat", number(most, 4), "1 is best"),
            ("Draws", f"{len(draws):,}", f"{inference.n_evaluations:,} evaluations"),
        ],
        sections=(
            _corner(list(columns), None, draws, None, "the data", seed),
            _ladder(inference),
            _weights(inference),
            Section("chains", "Chains", (
                f"In the end {inference.acceptance:.0%} of HMC's trajectories and {inference.jump_acceptance:.0%} of "
                f"the flow's proposals were accepted; {inference.divergent:.1%} of the trajectories diverged.",
                table_of(["parameter", "R-hat"], r_hat, caption="R-hat over all chains"),
            )),
            run_section(about, [], time.monotonic() - start, seed),
        ),
        facts={"kind": "inference", "verdict": list(verdict), "log_z": inference.log_z,
               "log_z_error": inference.log_z_error, "ess_fraction": inference.ess_fraction,
               "pareto_k": inference.pareto_k, "largest_r_hat": most, "seed": seed},
    )  # fmt: skip


def _narrowing(names: list[str], prior: np.ndarray, draws: np.ndarray, where: str) -> str:
    ratio = draws.std(axis=0) / np.maximum(prior.std(axis=0), 1e-300)
    told = ", ".join(f"{name} {number(float(share), 2)}" for name, share in list(zip(names, ratio, strict=True))[:6])
    return f"Given {where}, the standard deviations are these shares of those of the prior: {told}."


def _corner(
    names: list[str], prior: np.ndarray | None, draws: np.ndarray, truth: np.ndarray | None, where: str, seed: int
) -> Section:
    """Marginals, pairs and moments of the draws, beside those of the prior."""
    shown = pictured("report", draws, None, names=names, schema=None, columns=None, most=MOST)
    kept = [names.index(name) for name in shown.names]
    # Axes follow the posterior; it is drawn in the colour of models, the prior in that of data.
    places = shown.data
    shown = Pictured(shown.names, None if prior is None else prior[:, kept], places, shown.axes, shown.chosen)
    made = Scales()
    scales = [made.of(axis) for axis in shown.axes]
    rows = []
    for i, name in enumerate(names):
        own = draws[:, i]
        rows.append([name, float(own.mean()), float(own.std()), *map(float, np.quantile(own, LEVELS))])
        if truth is not None:
            rows[-1].append(float(truth[i]))
    header = [
        "parameter",
        "mean",
        "standard deviation",
        "5 %",
        "50 %",
        "95 %",
        *(["true"] if truth is not None else []),
    ]
    blocks: list[Any] = [
        f"These are {len(draws):,} draws given {where}.",
        table_of(header, rows, caption="Moments and quantiles"),
        legend(*([] if prior is None else [("of-data", "prior")]), ("of-model", "posterior")),
    ]
    charts: list[Html] = []
    for i, (name, axis, scale) in enumerate(zip(shown.names, shown.axes, scales, strict=True)):
        before, after = (None if of is None else axis.heights(of[:, i]) for of in (shown.data, shown.samples))
        charts.append(figure(column_chart(axis, scale, before, after, f"{name}: density of the posterior."), name))
    blocks.append(tag("div", charts, class_="grid"))
    if len(shown.axes) > 1:
        words = f"Every two of the parameters {', '.join(shown.names)}."
        blocks.append(figure(pair_chart(shown, scales, words, seed), "", shown.chosen, wide=True))
    numbers = {name: draws[:1000, i] for i, name in enumerate(names)}
    blocks.append(tag("p", download("draws.csv", csv_of(numbers), "1,000 draws as CSV"), class_="numbers"))
    return Section("posterior", "The posterior", tuple(blocks))


def _tests(found: Calibration) -> Section:
    """Ranks, coverage and TARP as distribution functions less the diagonal, and statistics at an observation."""
    grid = np.arange(1, GRID) / GRID
    charts, numbers, rows, marks = [], {"level": grid}, [], []
    for test in found.tests:
        passed = "passed" if test.passed else "FAILED"
        rows.append([test.name, tag("span", passed, class_="mark"), float(test.p_value), test.sentence])
        marks.append("good" if test.passed else "bad")
        if test.observed is not None:
            continue
        low, high = ecdf_band(len(test.levels), grid)
        own = np.searchsorted(np.sort(test.levels), grid, side="right") / len(test.levels)
        numbers[test.name] = own
        words = f"{test.name}: share of levels below each level, less the level. {test.sentence}"
        drawing = curves({"data-line": (grid, own - grid)}, ("level", ""), words,
                         band=(grid, low - grid, high - grid), small=True)  # fmt: skip
        charts.append(figure(drawing, test.name))
    link = download("calibration.csv", csv_of(numbers), "Numbers of these figures as CSV")
    blocks = (
        "Levels are uniform if the posterior is right: then each line, the share of levels below less the level, stays "
        f"in the band in which {1 - LEVEL:.0%} of right posteriors do.",
        table_of(
            ["test", "verdict", "p-value", "in words"], rows, caption="Tests by held-out simulations", classes=marks
        ),
        legend(("of-data", "levels"), ("of-band", f"{1 - LEVEL:.0%} band")),
        tag("div", charts, class_="grid"),
        tag("p", link, class_="numbers"),
        sentences(found.notes),
    )
    return Section("tests", "Is it calibrated?", blocks)


def _ladder(inference: Inference) -> Section:
    """How the inference went from its start to the target, stage by stage."""
    records = inference.ladder
    if not records:
        return Section("ladder", "The ladder", ("There were no stages.",))
    at = np.arange(1, len(records) + 1, dtype=np.float64)
    own = {key: np.array([record[key] for record in records], np.float64)
           for key in ("temperature", "ess_fraction", "acceptance", "jump_acceptance", "log_z")}  # fmt: skip
    shown: list[tuple[str, str, dict[str, np.ndarray]]] = [
        ("Temperature", "power of ten; 0 is the target", {"data-line": np.log10(own["temperature"])}),
        ("Effective share", "blue; acceptance of the flow: orange",
         {"data-line": own["ess_fraction"], "model-line": own["jump_acceptance"]}),
        ("log Z", "nats", {"data-line": own["log_z"]}),
    ]  # fmt: skip
    charts = []
    for title, remark, lines in shown:
        points = {kind: (at, values) for kind, values in lines.items()}
        drawing = curves(points, ("stage", ""), f"{title} by stage, {remark}.", small=True)
        charts.append(figure(drawing, title, remark))
    link = download("ladder.csv", csv_of({"stage": at, **own}), "Numbers of these figures as CSV")
    blocks = (tag("div", charts, class_="grid"), tag("p", link, class_="numbers"))
    return Section("ladder", "The ladder", blocks)


def _weights(inference: Inference) -> Section:
    """The share of the mass that the largest importance weights hold."""
    logs = np.asarray(inference.log_weights, np.float64)
    logs = np.sort(logs[np.isfinite(logs)])[::-1]
    if not len(logs):
        return Section("weights", "Importance weights", ("No weight is finite.",))
    weights = np.exp(logs - logs[0])
    share, mass = np.arange(1, len(logs) + 1) / len(logs), np.cumsum(weights) / weights.sum()
    words = "Share of the mass that the heaviest draws hold."
    drawing = curves({"data-line": (share, mass), "dash": (np.array([0.0, 1.0]), np.array([0.0, 1.0]))},
                     ("share of draws, the heaviest first", "share of the mass"), words)  # fmt: skip
    link = download(
        "weights.csv", csv_of({"share of draws": share, "share of mass": mass}), "Numbers of this figure as CSV"
    )
    blocks = ("If the flow were the target, the line would be the diagonal.", figure(drawing, wide=True),
              tag("p", link, class_="numbers"))  # fmt: skip
    return Section("weights", "Importance weights", blocks)
