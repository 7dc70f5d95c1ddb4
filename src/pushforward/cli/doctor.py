"""`pushforward doctor`: what is installed, what it runs on, and whether it works here."""

from __future__ import annotations

import math
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pushforward.cli.report import CHECK_FAILED, OK, Reporter

Verdict = Literal["ok", "warn", "fail"]

REQUIRED = ("jax", "jaxlib", "equinox", "optax", "numpy", "scipy", "pyarrow", "scikit-learn", "pydantic", "safetensors")
# What each optional package is for, with the extra that brings it.
OPTIONAL = {
    "optuna": "pushforward tune (the extra tune)",
    "flatbuffers": "export to StableHLO (the extra export)",
    "tensorboardX": "--track tensorboard (the extra tensorboard)",
    "mlflow-skinny": "--track mlflow (the extra mlflow)",
    "wandb": "--track wandb (the extra wandb)",
    "pandas": "pandas frames",
    "polars": "polars frames",
}
GIB = 2**30
LITTLE_MEMORY, LITTLE_DISK = 2 * GIB, GIB
# The test fit: rows, the correlation of its Gaussian, and how many nats per row it may miss the closed form by.
TEST_ROWS, CORRELATION, MISSED_NATS = 1000, 0.8, 0.1
# A float64 product that takes this many times a float32 one makes scoring slow.
SLOW_DOUBLES = 8.0
PRODUCT = 512


@dataclass(frozen=True)
class Line:
    """One finding.

    Attributes:
        name: of the check.
        verdict: `"ok"`, `"warn"` or `"fail"`.
        sentence: for people.
        facts: for machines.
    """

    name: str
    verdict: Verdict
    sentence: str
    facts: dict[str, Any] = field(default_factory=dict)


def run_doctor(reporter: Reporter) -> int:
    """Examine, and say each finding as it comes; the exit code: 6 where a check failed."""
    lines = []
    for check in CHECKS:
        for line in guarded(check):
            lines.append(line)
            reporter.say(f"{line.verdict:<4}  {line.name}: {line.sentence}")
    failed = [line.name for line in lines if line.verdict == "fail"]
    warned = sum(line.verdict == "warn" for line in lines)
    end = f"{len(lines)} checks: {len(failed)} failed, {warned} with a warning."
    reporter.say(end)
    found = [{"name": a.name, "verdict": a.verdict, "sentence": a.sentence, **a.facts} for a in lines]
    reporter.result("doctor", {"healthy": not failed, "lines": found, "text": end})
    return CHECK_FAILED if failed else OK


def guarded(check: Callable[[], Sequence[Line]]) -> Sequence[Line]:
    """The findings of a check; its error, whatever it is, is a finding too."""
    try:
        return check()
    except Exception as error:
        words = " ".join(str(error).split())[:300]
        return [Line(check.__name__.replace("_", " "), "fail", f"ended in {type(error).__name__}: {words}.")]


def version_of(package: str) -> str | None:
    """The version installed, None if it is not."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions() -> list[Line]:
    """What is installed."""
    from pushforward import __version__

    python = platform.python_version()
    found = {name: version_of(name) for name in REQUIRED}
    lacking = [name for name, version in found.items() if version is None]
    shown = ", ".join(f"{name} {version}" for name, version in found.items() if version is not None)
    facts = {"pushforward": __version__, "python": python, "packages": found}
    sentence = f"pushforward {__version__} on Python {python} ({platform.platform()}); {shown}."
    if lacking:
        sentence += f" Missing: {', '.join(lacking)}. Install pushforward again."
    lines = [Line("versions", "fail" if lacking else "ok", sentence, facts)]
    extras = {name: version_of(name) for name in OPTIONAL}
    there = ", ".join(f"{name} {version}" for name, version in extras.items() if version is not None)
    absent = ", ".join(f"{name} for {OPTIONAL[name]}" for name, version in extras.items() if version is None)
    words = (f"{there}." if there else "none.") + (f" Not installed, and not needed: {absent}." if absent else "")
    return [*lines, Line("optional packages", "ok", words, {"packages": extras})]


def devices() -> list[Line]:
    """What JAX computes on, and with how much memory."""
    import jax

    found = jax.devices()
    memory = [_memory(device) for device in found]
    told = [
        f"{device.device_kind or device.platform}{f' with {size / GIB:.1f} GiB' if size else ''}"
        for device, size in zip(found, memory, strict=True)
    ]
    backend = jax.default_backend()
    facts = {"backend": backend, "devices": [str(device) for device in found], "memory_bytes": memory}
    sentence = f"JAX computes on {backend}: {', '.join(told)}."
    least = min((size for size in memory if size), default=None)
    if backend == "cpu" and Path("/dev/nvidia0").exists():
        fix = "There is an NVIDIA GPU that JAX does not use: pip install 'jax[cuda12]', or leave it for small tables."
        return [Line("devices", "warn", f"{sentence} {fix}", facts)]
    if least is not None and least < LITTLE_MEMORY:
        return [Line("devices", "warn", f"{sentence} That is little: use small batches and models.", facts)]
    return [Line("devices", "ok", sentence, facts)]


def _memory(device: Any) -> int | None:
    """Bytes of memory; of a CPU, those of the machine."""
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit is not None or device.platform != "cpu":
        return limit
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def precision() -> list[Line]:
    """The default of JAX."""
    import jax

    wide = bool(jax.config.jax_enable_x64)  # pyright: ignore[reportAttributeAccessIssue]
    default = "float64 (JAX_ENABLE_X64 is set)" if wide else "float32"
    sentence = f"JAX's default is {default}; models are trained in float32 and score and draw in float64 either way."
    return [Line("precision", "ok", sentence, {"x64": wide})]


def threads() -> list[Line]:
    """Cores, and the settings that limit them."""
    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS", "JAX_PLATFORMS")
    settings = {name: os.environ[name] for name in names if name in os.environ}
    shown = ", ".join(f"{name}={value}" for name, value in settings.items()) or "nothing is set to limit them"
    facts = {"cores": cores, "usable": usable, "settings": settings}
    sentence = f"{usable} of {cores} cores may be used; {shown}."
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
    if load > 1.5 * usable:
        return [Line("threads", "warn", f"{sentence} The machine is busy (load {load:.1f}): fits take longer.", facts)]
    return [Line("threads", "ok", sentence, facts)]


def folders() -> list[Line]:
    """Whether files can be written where the commands write them."""
    places: list[tuple[str, str, Verdict]] = [
        ("current folder", os.getcwd(), "warn"),
        ("temporary folder", tempfile.gettempdir(), "fail"),
    ]
    return [_folder(*place) for place in places]


def _folder(name: str, path: str, verdict: Verdict) -> Line:
    facts: dict[str, Any] = {"path": path}
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"pushforward")
    except OSError as error:
        return Line(name, verdict, f"{path} cannot be written to ({error.strerror or error}).", facts)
    facts["free_bytes"] = free = shutil.disk_usage(path).free
    if free < LITTLE_DISK:
        return Line(name, "warn", f"{path} is writable, but only {free / GIB:.2f} GiB are free.", facts)
    return Line(name, "ok", f"{path} is writable, {free / GIB:.0f} GiB are free.", facts)


def figures() -> list[Line]:
    """Whether figures can be drawn."""
    import matplotlib

    backend = os.environ.get("MPLBACKEND") or str(matplotlib.get_backend())
    sentence = (
        f"matplotlib {matplotlib.__version__} with the backend {backend}; `plot` writes files and needs no screen."
    )
    return [Line("figures", "ok", sentence, {"matplotlib": matplotlib.__version__, "backend": backend})]


def self_test() -> list[Line]:
    """Fit a small flow to a Gaussian, hold it against the closed form, save it, load it."""
    import numpy as np

    from pushforward.estimators import FlowDensity

    start = time.perf_counter()
    covariance = np.array([[1.0, CORRELATION], [CORRELATION, 1.0]])
    rng = np.random.default_rng(0)
    rows, new = (rng.multivariate_normal([3.0, -2.0], covariance, size=TEST_ROWS) for _ in range(2))
    centred = new - np.array([3.0, -2.0])
    squares = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred)
    exact = -0.5 * (squares + 2 * math.log(2 * math.pi) + math.log(1 - CORRELATION**2))
    density = FlowDensity("realnvp", n_layers=2, width=16, max_epochs=60, verify=False, random_state=0).fit(rows)
    scores = density.score_samples(new)
    missed = float(np.mean(exact - scores))
    seconds = time.perf_counter() - start
    sentence = f"a small flow misses the closed form of a Gaussian by {missed:.4f} nats per row ({seconds:.1f} s)."
    good = bool(np.isfinite(scores).all()) and abs(missed) <= MISSED_NATS
    if not good:
        sentence += f" Expected {MISSED_NATS} at most: densities from this installation cannot be trusted."
    lines = [Line("fit", "ok" if good else "fail", sentence, {"missed_nats": missed, "seconds": seconds})]
    with tempfile.TemporaryDirectory() as folder:
        density.save(Path(folder) / "model")
        again = FlowDensity.load(Path(folder) / "model").score_samples(new)
    same = bool(np.array_equal(again, scores))
    words = "a saved model scores the same, bit for bit."
    if not same:
        gap = float(np.max(np.abs(again - scores)))
        words = f"a saved model scores differently, by up to {gap:.3g} nats: files of models cannot be trusted here."
    return [*lines, Line("save and load", "ok" if same else "fail", words, {"identical": same})]


def speed() -> list[Line]:
    """The time of a product of matrices in float32 and in float64."""
    import jax
    import jax.numpy as jnp

    best = {}
    with jax.enable_x64(True):
        for name in ("float32", "float64"):
            matrix = jnp.ones((PRODUCT, PRODUCT), name)
            product = jax.jit(lambda a: a @ a)
            product(matrix).block_until_ready()
            times = []
            for _ in range(5):
                start = time.perf_counter()
                product(matrix).block_until_ready()
                times.append(time.perf_counter() - start)
            best[name] = min(times)
    ratio = best["float64"] / best["float32"]
    shown = ", ".join(f"{1000 * seconds:.2f} ms in {name}" for name, seconds in best.items())
    sentence = f"a product of {PRODUCT} by {PRODUCT} matrices takes {shown} ({ratio:.1f} times)."
    facts = {"float32_seconds": best["float32"], "float64_seconds": best["float64"]}
    if ratio > SLOW_DOUBLES:
        return [Line("speed", "warn", f"{sentence} Scoring and sampling run in float64 and are slow here.", facts)]
    return [Line("speed", "ok", sentence, facts)]


CHECKS: tuple[Callable[[], Sequence[Line]], ...] = (
    versions,
    devices,
    precision,
    threads,
    folders,
    figures,
    self_test,
    speed,
)
