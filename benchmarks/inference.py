"""`pf.infer` on densities whose constant, modes or moments are known.

    python benchmarks/inference.py --only gmm40 funnel10 --seeds 5

log Z: absolute errors with 2,000 draws over seeds, by the bridge and by importance sampling. posteriordb: how far means
and standard deviations are from the reference draws, in reference standard deviations. Data come from
`PUSHFORWARD_DATA` (default `../shared/data`). Figures are written to `benchmarks/results/inference.json`, each as soon
as it is there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

import pushforward as pf
from pushforward.bijections import HalfLine, Interval, Real

DATA = Path(os.environ.get("PUSHFORWARD_DATA", Path(__file__).parents[2] / "shared" / "data"))
OUT = Path(__file__).parent / "results" / "inference.json"


def gmm40(seed):
    means = np.random.default_rng(seed).uniform(-40, 40, (40, 2))
    scale = math.log1p(math.e)

    def log_density(x):
        each = -0.5 * jnp.sum((x - means) ** 2, 1) / scale**2
        return jax.nn.logsumexp(each) - math.log(40 * 2 * math.pi * scale**2)

    def modes(draws):
        nearest = np.argmin(np.sum((draws[:, None] - means) ** 2, -1), 1)
        return len(np.unique(nearest))

    return pf.Target(log_density, 2), 0.0, modes


def funnel(dim):
    def make(seed):
        def log_density(x):
            return norm.logpdf(x[0], 0, 3) + jnp.sum(norm.logpdf(x[1:], 0, jnp.exp(0.5 * x[0])))

        return pf.Target(log_density, dim), 0.0, lambda draws: float(np.std(draws[:, 0]))

    return make


def many_well(seed):
    from scipy.integrate import quad

    def log_well(x):
        return -(x**4) + 6 * x**2 + 0.5 * x

    mass = quad(lambda x: math.exp(log_well(x) - 9), -5, 5)[0]
    right = quad(lambda x: math.exp(log_well(x) - 9), 0, 5)[0] / mass
    log_z = 16 * (math.log(mass) + 9 + 0.5 * math.log(2 * math.pi))

    def log_density(x):
        return jnp.sum(log_well(x[0::2])) - 0.5 * jnp.sum(x[1::2] ** 2)

    def worst_share(draws):
        """The largest distance of a well's share, in standard errors of independent draws."""
        share = np.mean(draws[:, 0::2] > 0, axis=0)
        return float(np.max(np.abs(share - right)) / math.sqrt(right * (1 - right) / len(draws)))

    return pf.Target(log_density, 32), log_z, worst_share


SYNTHETIC = {"gmm40": gmm40, "funnel10": funnel(10), "many_well32": many_well}


def data_of(name):
    with zipfile.ZipFile(DATA / "posteriordb" / "data" / f"{name}.json.zip") as archive:
        return {k: np.asarray(v) for k, v in json.loads(archive.read(archive.namelist()[0])).items()}


def log_half_cauchy(x, scale):
    return -jnp.log1p((x / scale) ** 2)


def eight_schools(centred):
    def make():
        d = data_of("eight_schools")

        def log_density(p):
            theta = p["theta"] if centred else p["mu"] + p["tau"] * p["theta"]
            prior = norm.logpdf(p["theta"], p["mu"], p["tau"]) if centred else norm.logpdf(p["theta"])
            value = jnp.sum(norm.logpdf(d["y"], theta, d["sigma"])) + jnp.sum(prior)
            return value + norm.logpdf(p["mu"], 0, 5) + log_half_cauchy(p["tau"], 5.0)

        def columns(p):
            theta = p["theta"] if centred else p["mu"][:, None] + p["tau"][:, None] * p["theta"]
            return {**{f"theta[{n + 1}]": theta[:, n] for n in range(8)}, "mu": p["mu"], "tau": p["tau"]}

        return pf.Target(log_density, {"mu": Real(), "tau": HalfLine(), "theta": Real(8)}), columns

    return make


def kidiq():
    d = data_of("kidiq")
    x = np.stack([np.ones(len(d["kid_score"])), d["mom_hs"], d["mom_iq"], d["mom_hs"] * d["mom_iq"]], 1)

    def log_density(p):
        value = jnp.sum(norm.logpdf(d["kid_score"], x @ p["beta"], p["sigma"]))
        return value + log_half_cauchy(p["sigma"], 2.5)

    return pf.Target(log_density, {"beta": Real(4), "sigma": HalfLine()}), _regression


def nes():
    d = data_of("nes2000")
    age = [(d["age_discrete"] == n).astype(float) for n in (2, 3, 4)]
    x = np.stack(
        [np.ones(len(d["partyid7"])), d["real_ideo"], d["race_adj"], *age, d["educ1"], d["gender"], d["income"]], 1
    )

    def log_density(p):
        return jnp.sum(norm.logpdf(d["partyid7"], x @ p["beta"], p["sigma"]))

    return pf.Target(log_density, {"beta": Real(9), "sigma": HalfLine()}), _regression


def _regression(p):
    return {**{f"beta[{n + 1}]": p["beta"][:, n] for n in range(p["beta"].shape[1])}, "sigma": p["sigma"]}


def arma():
    d = data_of("arma")
    y = d["y"]

    def log_density(p):
        first = y[0] - (p["mu"] + p["phi"] * p["mu"])

        def step(e, pair):
            e = pair[1] - (p["mu"] + p["phi"] * pair[0] + p["theta"] * e)
            return e, e

        _, rest = jax.lax.scan(step, first, jnp.stack([y[:-1], y[1:]], 1))
        value = norm.logpdf(first, 0, p["sigma"]) + jnp.sum(norm.logpdf(rest, 0, p["sigma"]))
        value += norm.logpdf(p["mu"], 0, 10) + norm.logpdf(p["phi"], 0, 2) + norm.logpdf(p["theta"], 0, 2)
        return value + log_half_cauchy(p["sigma"], 2.5)

    return pf.Target(log_density, {"mu": Real(), "phi": Real(), "theta": Real(), "sigma": HalfLine()}), dict


def garch():
    d = data_of("garch")
    y, first = d["y"], d["sigma1"] ** 2

    def log_density(p):
        beta = p["beta"] * (1 - p["alpha1"])  # uniform on [0, 1 - alpha1] given a uniform share

        def step(s, y_before):
            s = p["alpha0"] + p["alpha1"] * (y_before - p["mu"]) ** 2 + beta * s
            return s, s

        _, rest = jax.lax.scan(step, jnp.asarray(first, float), y[:-1])
        s = jnp.concatenate([jnp.asarray(first, float)[None], rest])
        return jnp.sum(norm.logpdf(y, p["mu"], jnp.sqrt(s))) + jnp.log1p(-p["alpha1"])

    def columns(p):
        return {"mu": p["mu"], "alpha0": p["alpha0"], "alpha1": p["alpha1"], "beta1": p["beta"] * (1 - p["alpha1"])}

    supports = {"mu": Real(), "alpha0": HalfLine(), "alpha1": Interval(0, 1), "beta": Interval(0, 1)}
    return pf.Target(log_density, supports), columns


POSTERIORS = {
    "eight_schools": ("eight_schools-eight_schools_noncentered", eight_schools(False)),
    "eight_schools_centred": ("eight_schools-eight_schools_noncentered", eight_schools(True)),
    "kidiq_interaction": ("kidiq-kidscore_interaction", kidiq),
    "nes2000": ("nes2000-nes", nes),
    "arma11": ("arma-arma11", arma),
    "garch11": ("garch-garch11", garch),
}


def cost(answer):
    return {
        "evaluations": answer.n_evaluations,
        "seconds": round(answer.seconds, 1),
        "ess_fraction": round(answer.ess_fraction, 4),
        "pareto_k": round(answer.pareto_k, 3),
        "largest_r_hat": round(float(np.max(answer.r_hat)), 4),
        "gap": round(answer.gap, 4),
        "verdict": answer.verdict,
        "kept": answer.ladder[-1]["kept"],
    }


def synthetic(name, n_seeds, budget):
    runs = []
    for seed in range(n_seeds):
        target, log_z, look = SYNTHETIC[name](seed if name == "gmm40" else 0)
        answer = pf.infer(target, key=jax.random.key(seed), budget=budget, progress=False)
        run = {"bridge": answer.log_z - log_z, "importance": answer.log_z_importance.value - log_z}
        runs.append({**run, "look": look(answer.draws["x"]), **cost(answer)})
        print(name, seed, runs[-1], flush=True)
    found = {"runs": runs}
    for way in ("bridge", "importance"):
        errors = np.abs([run[way] for run in runs])
        error = float(np.std(errors, ddof=1) / math.sqrt(len(errors))) if len(errors) > 1 else None
        found[f"abs_error_{way}"], found[f"standard_error_{way}"] = float(np.mean(errors)), error
    return found


def posterior(name, budget):
    reference, make = POSTERIORS[name]
    target, columns = make()
    draws = np.load(DATA / "posteriordb" / "draws" / f"{reference}.npz")
    names = [str(n) for n in draws["names"]]
    flat = draws["draws"].reshape(-1, len(names)).astype(float)
    answer = pf.infer(target, key=jax.random.key(0), n_draws=4000, budget=budget, progress=False)
    own = columns(answer.draws)
    by_name = dict(zip(sorted(names), sorted(own), strict=True)) if set(own) != set(names) else {n: n for n in names}
    sd = flat.std(axis=0)
    means = [abs(own[by_name[n]].mean() - flat[:, k].mean()) / sd[k] for k, n in enumerate(names)]
    sds = [abs(own[by_name[n]].std() - sd[k]) / sd[k] for k, n in enumerate(names)]
    found = {"largest_error_of_means": float(max(means)), "largest_error_of_sds": float(max(sds)), **cost(answer)}
    print(name, found, flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*SYNTHETIC, *POSTERIORS]
    parser.add_argument("--only", nargs="*", default=names, choices=names)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", default=None, help="such as 60s; a plain number counts evaluations")
    args = parser.parse_args()
    budget = int(args.budget) if args.budget and args.budget.isdigit() else args.budget
    results = json.loads(OUT.read_text()) if OUT.exists() else {}
    for name in args.only:
        if name in POSTERIORS and not (DATA / "posteriordb").is_dir():
            print(f"{name}: {DATA / 'posteriordb'} is not there; set PUSHFORWARD_DATA.")
            continue
        started = time.perf_counter()
        found = synthetic(name, args.seeds, budget) if name in SYNTHETIC else posterior(name, budget)
        results[name] = {**found, "wall_seconds": round(time.perf_counter() - started, 1)}
        OUT.parent.mkdir(exist_ok=True)
        OUT.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
