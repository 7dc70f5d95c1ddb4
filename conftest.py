"""Settings of the test run: precision, threads, the compilation cache, and a guard on the checkout."""

from __future__ import annotations

import faulthandler
import gc
import math
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pushforward._compile_cache import JAX_FOLDER, JAX_SETTINGS, caches, prune

ROOT = Path(__file__).parent.resolve()
CACHE = ROOT / ".cache"

# Before JAX and matplotlib are imported. One thread for each xdist worker: two workers fill the two cores of CI, and
# more threads than cores cost more than they gain at these sizes.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("MPLCONFIGDIR", str(CACHE / "matplotlib"))
# Most programs run once: XLA's older way to emit fusions compiles a spline's derivatives in 2.6 s instead of 6.0 s.
FLAGS = ["--xla_cpu_use_fusion_emitters=false"]
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    FLAGS += ["--xla_cpu_multi_thread_eigen=false", "intra_op_parallelism_threads=1"]
os.environ["XLA_FLAGS"] = " ".join(
    [*(f for f in FLAGS if f not in os.environ.get("XLA_FLAGS", "")), os.environ.get("XLA_FLAGS", "")]
)
# Inherited by the subprocesses of the tests (the command line, the snippets of the README), and shared by the workers.
# In the user's folder, so that a fresh clone finds it warm, and so may several checkouts at once: a hash of the program
# names its entry, and an entry that is half written counts as missing (a warning that pyproject.toml ignores).
# Apart from what the command line keeps there, which the many small programs of the tests would push out.
os.environ.setdefault(JAX_FOLDER, str(caches() / "pushforward" / "jax"))
for name, value in JAX_SETTINGS.items():
    os.environ.setdefault(name, value)
# JAX's own bound needs another package, and reads the whole folder at each entry: `prune` looks once a run.
CACHE_BYTES = 2 * 2**30

import hypothesis
import jax
import numpy as np
import pytest

# The same examples in every run: a red run is a change of the code, never of the luck.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, max_examples=50, database=None)
hypothesis.settings.load_profile("suite")

# Also for fixtures of a module or a session, which run before the fixture below.
jax.config.update("jax_enable_x64", True)

# Tools write here while the tests run; everything else in the checkout is the user's.
WRITABLE = (".cache", "build", ".git", ".hypothesis", ".pytest_cache", ".ruff_cache", ".import_linter_cache", ".venv")


# Where the generators of NumPy of each test module stand once it is imported.
STATES: dict[Any, dict[str, Any]] = {}


@pytest.fixture(autouse=True)
def precision(request: pytest.FixtureRequest) -> Iterator[None]:
    """Float64 in the tests, which measure against autodiff and quadrature; float32, the default, where users look.

    Docstring examples, and tests marked `float32`, see JAX as a user does.
    """
    user = isinstance(request.node, pytest.DoctestItem) or request.node.get_closest_marker("float32") is not None
    with jax.enable_x64(not user):
        yield


# Most tests compile much and compute little: without XLA's optimisations they take two thirds of the time. Where fits
# are long, compiling well pays.
LONG_FITS = ("tests/training", "tests/test_oracles.py")


@pytest.fixture(autouse=True, scope="module")
def programs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compile quickly where that pays, and drop the programs of each file: thousands in one process crash XLA."""
    quick = not request.path.relative_to(ROOT).as_posix().startswith(LONG_FITS)
    jax.config.update("jax_disable_most_optimizations", quick)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()


def _refuse_write(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: a test that writes into the checkout fails at the line that does it."""
    if event == "open":
        path, mode, flags = arguments
        writes = any(c in mode for c in "wax+") if mode else bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    elif event in ("os.mkdir", "os.rename"):
        path, writes = arguments[0 if event == "os.mkdir" else 1], True
    else:
        return
    if not writes or not isinstance(path, str | os.PathLike) or "PYTEST_CURRENT_TEST" not in os.environ:
        return
    target = Path(os.path.abspath(path))
    if not target.is_relative_to(ROOT):
        return
    inside = target.relative_to(ROOT).parts
    if "__pycache__" in inside or (inside and inside[0] in WRITABLE):
        return
    raise AssertionError(f"A test writes into the checkout: {target}. Use tmp_path, and monkeypatch.chdir(tmp_path).")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--thorough` adds the tests that are marked so, which take longer than all others."""
    parser.addoption("--thorough", action="store_true", help="also run the tests marked thorough")
    parser.addoption("--thorough-alone", action="store_true", help="run the tests marked thorough alone")
    parser.addoption("--rotate", default="0", help="a hexadecimal number that says which file is the first")
    parser.addoption("--until", type=float, default=math.inf, help="start no test after this time, in s since 1970")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked `thorough`, or all others; and begin with another file."""
    alone = config.getoption("--thorough-alone")
    if alone or not config.getoption("--thorough"):
        left_out = [item for item in items if (item.get_closest_marker("thorough") is None) == alone]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    files = list(dict.fromkeys(item.path for item in items))
    if files:
        place = {path: i for i, path in enumerate(files)}
        first = int(config.getoption("--rotate"), 16) % len(files)
        items.sort(key=lambda item: (place[item.path] - first) % len(files))


NOT_REACHED = "The time was up before this test."
TEST_SECONDS = 900  # that a test may take where there is an end; a minute later, if it hangs, its process is killed


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Where there is an end, bound the time of each test."""
    if math.isinf(item.config.getoption("--until")) or not hasattr(signal, "SIGALRM"):
        return (yield)

    def stop(*_: Any) -> None:
        pytest.fail(f"The test took more than {TEST_SECONDS} s.")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(TEST_SECONDS)
    faulthandler.dump_traceback_later(TEST_SECONDS + 60, exit=True, file=sys.__stderr__)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start no test after the end, and set a module's generators of random numbers back.

    What a test draws follows from its module's generators as they stand after the import, not from the tests before it.
    """
    if time.time() > item.config.getoption("--until"):
        pytest.skip(NOT_REACHED)
    module = getattr(item, "module", None)
    if module not in STATES:
        held = vars(module).items() if module is not None else ()
        STATES[module] = {name: rng.bit_generator.state for name, rng in held if isinstance(rng, np.random.Generator)}
    for name, state in STATES[module].items():
        getattr(module, name).bit_generator.state = state


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which tests were not reached, by file."""
    skipped = terminalreporter.stats.get("skipped", [])
    files = Counter(report.nodeid.split("::")[0] for report in skipped if NOT_REACHED in str(report.longrepr))
    if files:
        terminalreporter.section("not reached")
        terminalreporter.line(f"{files.total()} tests were not reached before the end of the time:")
        for file, count in files.items():
            terminalreporter.line(f"  {count:4d} of {file}")


def pytest_collection_finish() -> None:
    """Let the garbage collector look less often, and never at what was imported.

    Tracing makes millions of small objects that are all alive: at Python's own thresholds, going through them again and
    again was a twelfth of the profile of one case's laws (`Scan`).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the guard once per process."""
    config.addinivalue_line("markers", "float32: run with JAX's default precision instead of float64")
    config.addinivalue_line("markers", "thorough: left out but for --thorough")
    sys.addaudithook(_refuse_write)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        prune(Path(os.environ[JAX_FOLDER]), CACHE_BYTES)
