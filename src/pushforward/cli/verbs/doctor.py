"""`pushforward doctor`: what is installed, on what it runs, and whether it works."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pushforward.cli.reporter import CHECK_FAILED, OK, Reporter
from pushforward.cli.verb import Debug, Json, Quiet, verb

REQUIRED = ("jax", "jaxlib", "equinox", "optax", "numpy", "scipy", "pyarrow", "scikit-learn", "pydantic", "safetensors")
# Purpose of each optional package, with the extra that installs it.
OPTIONAL = {
    "optuna": "pushforward tune (the extra tune)",
    "flatbuffers": "export to StableHLO (the extra export)",
    "jax2onnx": "export to ONNX (the extra onnx)",
    "tensorboardX": "--track tensorboard (the extra tensorboard)",
    "mlflow-skinny": "--track mlflow (the extra mlflow)",
    "wandb": "--track wandb (the extra wandb)",
    "pandas": "pandas frames",
    "polars": "polars frames",
}
GIB = 2**30
LITTLE_MEMORY, LITTLE_DISK = 2 * GIB, GIB
# The test fit: number of rows, correlation of the Gaussian, largest difference from the closed form in nats per row.
TEST_ROWS, CORRELATION, MISSED_NATS = 1000, 0.8, 0.1
# A float64 product that takes this many times a float32 one makes scoring slow.
SLOW_DOUBLES, PRODUCT = 8.0, 512


class Line(NamedTuple):
    """One finding: the check's name, its verdict, a sentence for people, and facts for machines."""

    name: str
    verdict: Literal["ok", "warn", "fail"]
    sentence: str
    facts: dict[str, Any]


@verb("pushforward doctor")
def doctor(quiet: Quiet = False, as_json: Json = False, debug: Debug = False) -> int:
    """Show what is installed, and test whether it works.

    A small model is fitted, saved and loaded, which takes about ten seconds. The exit code is 6 if that fails.
    """
    reporter = Reporter(as_json, quiet)
    lines: list[Line] = []
    for check in CHECKS:
        try:
            found = check()
        except Exception as error:  # whatever it is, it is a finding
            words = f"ended in {type(error).__name__}: {' '.join(str(error).split())[:300]}."
            found = [Line(check.__name__.replace("_", " "), "fail", words, {})]
        for line in found:
            lines.append(line)
            reporter.say(f"{line.verdict:<4}  {line.name}: {line.sentence}")
    count = {verdict: sum(line.verdict == verdict for line in lines) for verdict in ("fail", "warn")}
    end = f"{len(lines)} checks: {count['fail']} failed, {count['warn']} with a warning."
    reporter.say(end)
    plain = [{"name": a.name, "verdict": a.verdict, "sentence": a.sentence, **a.facts} for a in lines]
    reporter.result("doctor", {"healthy": not count["fail"], "lines": plain, "text": end})
    return CHECK_FAILED if count["fail"] else OK


def _installed(packages: Any) -> tuple[dict[str, str | None], str, list[str]]:
    """Versions by package, the same in words, and the packages that are missing."""
    found: dict[str, str | None] = dict.fromkeys(packages)
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    shown = ", ".join(f"{name} {version}" for name, version in found.items() if version is not None)
    return found, shown, [name for name, version in found.items() if version is None]


def versions() -> list[Line]:
    """Find out what is installed."""
    from pushforward import __version__

    found, shown, lacking = _installed(REQUIRED)
    python = platform.python_version()
    sentence = f"pushforward {__version__} on Python {python} ({platform.platform()}); {shown}."
    if lacking:
        sentence += f" Missing: {', '.join(lacking)}. Install pushforward again."
    facts = {"pushforward": __version__, "python": python, "packages": found}
    extras, there, absent = _installed(OPTIONAL)
    words = f"{there or 'none'}."
    if absent:
        words += f" Not installed, and not needed: {', '.join(f'{name} for {OPTIONAL[name]}' for name in absent)}."
    first = Line("versions", "fail" if lacking else "ok", sentence, facts)
    return [first, Line("optional packages", "ok", words, {"packages": extras})]


def devices() -> list[Line]:
    """Find out on which devices JAX computes, and with how much memory."""
    import jax

    found, backend = jax.devices(), jax.default_backend()
    memory = [(device.memory_stats() or {}).get("bytes_limit") for device in found]
    if backend == "cpu" and hasattr(os, "sysconf"):  # that of the machine
        memory = [size or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") for size in memory]
    shown = [f" with {size / GIB:.1f} GiB" if size else "" for size in memory]
    told = [f"{device.device_kind}{size}" for device, size in zip(found, shown, strict=True)]
    sentence, advice = f"JAX computes on {backend}: {', '.join(told)}.", ""
    if backend == "cpu" and Path("/dev/nvidia0").exists():
        fix = "pip install 'jax[cuda12]', or leave it for small tables"
        advice = f" There is an NVIDIA GPU that JAX does not use: {fix}."
    elif min((size for size in memory if size), default=LITTLE_MEMORY) < LITTLE_MEMORY:
        advice = " That is little: use small batches and models."
    facts = {"backend": backend, "devices": [str(device) for device in found], "memory_bytes": memory}
    return [Line("devices", "warn" if advice else "ok", sentence + advice, facts)]


def settings() -> list[Line]:
    """Find out JAX's default precision, the usable cores, and the package that draws figures."""
    import jax
    import matplotlib

    wide = bool(jax.config.jax_enable_x64)  # pyright: ignore[reportAttributeAccessIssue]
    default = "float64 (JAX_ENABLE_X64 is set)" if wide else "float32"
    precise = f"JAX's default is {default}; models are trained in float32 and score and draw in float64 either way."
    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS", "JAX_PLATFORMS")
    limits = {name: os.environ[name] for name in names if name in os.environ}
    shown = ", ".join(f"{name}={value}" for name, value in limits.items()) or "nothing is set to limit them"
    sentence = f"{usable} of {cores} cores may be used; {shown}."
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
    busy = load > 1.5 * usable
    if busy:
        sentence += f" The machine is busy (load {load:.1f}): fits take longer."
    backend, version = os.environ.get("MPLBACKEND") or str(matplotlib.get_backend()), matplotlib.__version__
    drawn = f"matplotlib {version} with the backend {backend}; `plot` writes files and needs no screen."
    facts = {"cores": cores, "usable": usable, "settings": limits}
    return [
        Line("precision", "ok", precise, {"x64": wide}),
        Line("threads", "warn" if busy else "ok", sentence, facts),
        Line("figures", "ok", drawn, {"matplotlib": version, "backend": backend}),
    ]


def folders() -> list[Line]:
    """Find out whether files can be written where the commands write them."""
    return [_folder("current folder", os.getcwd(), "warn"), _folder("temporary folder", tempfile.gettempdir(), "fail")]


def _folder(name: str, path: str, verdict: Any) -> Line:
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"pushforward")
    except OSError as error:
        return Line(name, verdict, f"{path} cannot be written to ({error.strerror or error}).", {"path": path})
    free = shutil.disk_usage(path).free
    little = free < LITTLE_DISK
    sentence = f"{path} is writable, {'but only ' if little else ''}{free / GIB:.3g} GiB are free."
    return Line(name, "warn" if little else "ok", sentence, {"path": path, "free_bytes": free})


def self_test() -> list[Line]:
    """Fit a small flow to a Gaussian, compare it with the closed form, save it and load it."""
    import numpy as np
    from scipy.stats import multivariate_normal

    from pushforward.tables.estimators import FlowDensity

    start = time.perf_counter()
    covariance: Any = [[1.0, CORRELATION], [CORRELATION, 1.0]]
    normal: Any = multivariate_normal([3.0, -2.0], covariance)
    rows, new = normal.rvs((2, TEST_ROWS), random_state=0)
    density = FlowDensity("realnvp", n_layers=2, width=16, max_epochs=60, verify=False, random_state=0).fit(rows)
    scores = density.score_samples(new)
    missed, seconds = float(np.mean(normal.logpdf(new) - scores)), time.perf_counter() - start
    sentence = f"a small flow misses the closed form of a Gaussian by {missed:.4f} nats per row ({seconds:.1f} s)."
    good = bool(np.isfinite(scores).all()) and abs(missed) <= MISSED_NATS
    if not good:
        sentence += f" Expected {MISSED_NATS} at most: densities from this installation cannot be trusted."
    with tempfile.TemporaryDirectory() as folder:
        density.save(Path(folder) / "model")
        gap = float(np.max(np.abs(FlowDensity.load(Path(folder) / "model").score_samples(new) - scores)))
    words = "a saved model scores the same, bit for bit."
    if gap != 0:
        words = f"a saved model scores differently, by up to {gap:.3g} nats: files of models cannot be trusted here."
    return [
        Line("fit", "ok" if good else "fail", sentence, {"missed_nats": missed, "seconds": seconds}),
        Line("save and load", "fail" if gap != 0 else "ok", words, {"identical": gap == 0}),
    ]


def speed() -> list[Line]:
    """Measure the time of a product of matrices in float32 and in float64."""
    import jax

    with jax.enable_x64(True):
        times = {name: _seconds_of_product(name) for name in ("float32", "float64")}
    ratio = times["float64"] / times["float32"]
    shown = ", ".join(f"{1000 * seconds:.2f} ms in {name}" for name, seconds in times.items())
    sentence = f"a product of {PRODUCT} by {PRODUCT} matrices takes {shown} ({ratio:.1f} times)."
    if ratio > SLOW_DOUBLES:
        sentence += " Scoring and sampling run in float64 and are slow here."
    facts = {f"{name}_seconds": seconds for name, seconds in times.items()}
    return [Line("speed", "warn" if ratio > SLOW_DOUBLES else "ok", sentence, facts)]


def _seconds_of_product(dtype: str) -> float:
    import timeit

    import jax
    import jax.numpy as jnp

    matrix, product = jnp.ones((PRODUCT, PRODUCT), dtype), jax.jit(lambda a: a @ a)
    product(matrix).block_until_ready()  # compiled
    return min(timeit.repeat(lambda: product(matrix).block_until_ready(), number=1, repeat=5))


CHECKS: tuple[Callable[[], Sequence[Line]], ...] = (versions, devices, settings, folders, self_test, speed)
