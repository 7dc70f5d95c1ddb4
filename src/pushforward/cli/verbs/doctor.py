"""`pushforward doctor`: what is installed, on what it runs, and whether it works."""

from __future__ import annotations

import math
import os
import platform
import re
import shutil
import tempfile
import time
import timeit
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from pushforward.cli.reporter import CHECK_FAILED, OK, Reporter
from pushforward.cli.verb import verb

# Packages that are of use without an extra of pushforward, and extras that are for its developers.
FRAMES, DEVELOPMENT = {"pandas": "frames", "polars": "frames"}, ("test", "dev")
SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS", "JAX_PLATFORMS")
GIB = 2**30
LITTLE_MEMORY, LITTLE_DISK = 2 * GIB, GIB
# The test fit: number of rows, correlation of the Gaussian, largest difference from the closed form in nats per row.
TEST_ROWS, CORRELATION, MISSED_NATS = 1000, 0.8, 0.1
# A float64 product that takes this many times a float32 one makes scoring slow.
SLOW_DOUBLES, PRODUCT = 8.0, 512


class Line(NamedTuple):
    """One finding: the check's name, its verdict (ok, warn or fail), a sentence for people, and facts for machines."""

    name: str
    verdict: str
    sentence: str
    facts: dict[str, Any]


def line(name: str, sentence: str, facts: dict[str, Any], advice: str = "", verdict: str = "warn") -> Line:
    """A finding that is ok, or has the verdict if there is advice."""
    return Line(name, verdict if advice else "ok", f"{sentence} {advice}".rstrip(), facts)


@verb("pushforward doctor")
def doctor(*, reporter: Reporter) -> int:
    """Show what is installed, and test whether it works.

    A small model is fitted, saved and loaded, which takes about ten seconds. The exit code is 6 if that fails.
    """
    lines = []
    for found in (found for check in CHECKS for found in _findings(check)):
        lines.append(found)
        reporter.say(f"{found.verdict:<4}  {found.name}: {found.sentence}")
    failed, warned = (sum(found.verdict == verdict for found in lines) for verdict in ("fail", "warn"))
    end = f"{len(lines)} checks: {failed} failed, {warned} with a warning."
    reporter.say(end)
    plain = [{"name": a.name, "verdict": a.verdict, "sentence": a.sentence, **a.facts} for a in lines]
    facts = {"healthy": not failed, "lines": plain, "text": end}
    return reporter.result("doctor", facts, CHECK_FAILED if failed else OK)


def _findings(check: Any) -> Iterator[Line]:
    """The findings of a check; whatever error ends it is one of them."""
    try:
        yield from check()
    except Exception as error:
        words = f"ended in {type(error).__name__}: {' '.join(str(error).split())[:300]}."
        yield Line(check.__name__.replace("_", " "), "fail", words, {})


def versions() -> Iterator[Line]:
    """Find out what is installed."""
    from pushforward import __version__

    found, lacking, python = ({}, {}), ({}, {}), platform.python_version()  # what is needed, and what is optional
    for name, extra in (*_requirements().items(), *FRAMES.items()):
        try:
            found[bool(extra)][name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            lacking[bool(extra)][name] = extra
    shown, optional = (", ".join(f"{name} {version}" for name, version in some.items()) for some in found)
    sentence = f"pushforward {__version__} on Python {python} ({platform.platform()}); {shown}."
    advice = f"Missing: {', '.join(lacking[0])}. Install pushforward again." if lacking[0] else ""
    facts = {"pushforward": __version__, "python": python, "packages": found[0] | dict.fromkeys(lacking[0])}
    yield line("versions", sentence, facts, advice, "fail")
    absent = ", ".join(f"{name} (for {extra})" for name, extra in lacking[1].items())
    words = f"{optional or 'none'}." + (f" Not installed, and not needed: {absent}." if absent else "")
    yield line("optional packages", words, {"packages": found[1] | dict.fromkeys(lacking[1])})


def _requirements() -> dict[str, str]:
    """The packages that pushforward names as its requirements, with the extra that asks for them, or nothing."""
    found = {"jaxlib": ""}
    for text in metadata.requires("pushforward") or ():
        name, extra = re.match(r"[\w.-]+", text), re.search(r"extra == .(\w+)", text)
        if name and name[0] != "pushforward" and (extra is None or extra[1] not in DEVELOPMENT):
            found.setdefault(name[0], "" if extra is None else f"the extra {extra[1]}")
    return found


def devices() -> Iterator[Line]:
    """Find out on which devices JAX computes, and with how much memory."""
    import jax

    found, backend, advice = jax.devices(), jax.default_backend(), ""
    memory = [(device.memory_stats() or {}).get("bytes_limit") for device in found]
    if backend == "cpu" and hasattr(os, "sysconf"):  # that of the machine
        memory = [size or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") for size in memory]
    told = [
        device.device_kind + (f" with {size / GIB:.1f} GiB" if size else "")
        for device, size in zip(found, memory, strict=True)
    ]
    if backend == "cpu" and Path("/dev/nvidia0").exists():
        fix = "pip install 'jax[cuda12]', or leave it for small tables"
        advice = f"There is an NVIDIA GPU that JAX does not use: {fix}."
    elif min(filter(None, memory), default=LITTLE_MEMORY) < LITTLE_MEMORY:
        advice = "That is little: use small batches and models."
    facts = {"backend": backend, "devices": [str(device) for device in found], "memory_bytes": memory}
    yield line("devices", f"JAX computes on {backend}: {', '.join(told)}.", facts, advice)


def settings() -> Iterator[Line]:
    """Find out JAX's default precision, the usable cores, and the package that draws figures."""
    import jax
    import matplotlib

    wide = bool(jax.config.jax_enable_x64)  # pyright: ignore[reportAttributeAccessIssue]
    default = "float64 (JAX_ENABLE_X64 is set)" if wide else "float32"
    precise = f"JAX's default is {default}; models are trained in float32 and score and draw in float64 either way."
    yield line("precision", precise, {"x64": wide})
    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    limits = {name: os.environ[name] for name in SETTINGS if name in os.environ}
    shown = ", ".join(f"{name}={value}" for name, value in limits.items()) or "nothing is set to limit them"
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
    busy = f"The machine is busy (load {load:.1f}): fits take longer." if load > 1.5 * usable else ""
    facts = {"cores": cores, "usable": usable, "settings": limits}
    yield line("threads", f"{usable} of {cores} cores may be used; {shown}.", facts, busy)
    backend, version = os.environ.get("MPLBACKEND") or str(matplotlib.get_backend()), matplotlib.__version__
    drawn = f"matplotlib {version} with the backend {backend}; `plot` writes files and needs no screen."
    yield line("figures", drawn, {"matplotlib": version, "backend": backend})


def folders() -> Iterator[Line]:
    """Find out whether files can be written where the commands write them."""
    for name, path, verdict in (
        ("current folder", os.getcwd(), "warn"),
        ("temporary folder", tempfile.gettempdir(), "fail"),
    ):
        try:
            with tempfile.TemporaryFile(dir=path) as file:
                file.write(b"pushforward")
        except OSError as error:
            yield Line(name, verdict, f"{path} cannot be written to ({error.strerror or error}).", {"path": path})
            continue
        free = shutil.disk_usage(path).free
        little = "That is little." if free < LITTLE_DISK else ""
        sentence = f"{path} is writable, {free / GIB:.3g} GiB are free."
        yield line(name, sentence, {"path": path, "free_bytes": free}, little)


def self_test() -> Iterator[Line]:
    """Fit a small flow to a Gaussian, compare it with the closed form, save it and load it."""
    import numpy as np
    from scipy.stats import multivariate_normal

    from pushforward.tables.estimators import FlowDensity

    start = time.perf_counter()
    normal: Any = multivariate_normal([3.0, -2.0], [[1.0, CORRELATION], [CORRELATION, 1.0]])  # pyright: ignore
    rows, new = normal.rvs((2, TEST_ROWS), random_state=0)
    density = FlowDensity("realnvp", n_layers=2, width=16, max_epochs=60, verify=False, random_state=0).fit(rows)
    scores = density.score_samples(new)
    missed, seconds = float(np.mean(normal.logpdf(new) - scores)), time.perf_counter() - start
    sentence = f"a small flow misses the closed form of a Gaussian by {missed:.4f} nats per row ({seconds:.1f} s)."
    bad = f"Expected {MISSED_NATS} at most: densities from this installation cannot be trusted."
    good = bool(np.isfinite(scores).all()) and abs(missed) <= MISSED_NATS
    yield line("fit", sentence, {"missed_nats": missed, "seconds": seconds}, "" if good else bad, "fail")
    with tempfile.TemporaryDirectory() as folder:
        density.save(Path(folder) / "model")
        gap = float(np.max(np.abs(FlowDensity.load(Path(folder) / "model").score_samples(new) - scores)))
    words = f"a saved model scores {'the same, bit for bit' if gap == 0 else f'differently, by up to {gap:.3g} nats'}."
    bad = "" if gap == 0 else "Files of models cannot be trusted here."
    yield line("save and load", words, {"identical": gap == 0}, bad, "fail")


def speed() -> Iterator[Line]:
    """Measure the time of a product of matrices in float32 and in float64."""
    import jax
    import jax.numpy as jnp

    def seconds(dtype: str) -> float:
        matrix, product = jnp.ones((PRODUCT, PRODUCT), dtype), jax.jit(lambda a: a @ a)
        product(matrix).block_until_ready()  # compiled
        return min(timeit.repeat(lambda: product(matrix).block_until_ready(), number=1, repeat=5))

    with jax.enable_x64(True):
        times = {name: seconds(name) for name in ("float32", "float64")}
    ratio = times["float64"] / times["float32"]
    shown = ", ".join(f"{1000 * taken:.2f} ms in {name}" for name, taken in times.items())
    sentence = f"a product of {PRODUCT} by {PRODUCT} matrices takes {shown} ({ratio:.1f} times)."
    slow = "Scoring and sampling run in float64 and are slow here." if ratio > SLOW_DOUBLES else ""
    yield line("speed", sentence, {f"{name}_seconds": taken for name, taken in times.items()}, slow)


CHECKS = (versions, devices, settings, folders, self_test, speed)
