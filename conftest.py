"""Settings of the test run: precision, threads, the compilation cache, and a guard on the checkout."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.resolve()
CACHE = ROOT / ".cache"
USER_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")

# Before JAX and matplotlib are imported. One thread for each xdist worker: two workers fill the two cores of CI, and
# more threads than cores cost more than they gain at these sizes.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("MPLCONFIGDIR", str(CACHE / "matplotlib"))
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
# Inherited by the subprocesses of the tests (the command line, the snippets of the README), and shared by the workers.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(USER_CACHE / "pushforward" / "jax"))
# Small programs too: compiling `x * 2` takes 30 ms, reading it 12 ms, and every process needs the same hundreds.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import hypothesis
import jax
import pytest

# The same examples in every run: a red run is a change of the code, never of the luck.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, max_examples=50, database=None)
hypothesis.settings.load_profile("suite")

# Also for fixtures of a module or a session, which run before the fixture below.
jax.config.update("jax_enable_x64", True)

# Tools write here while the tests run; everything else in the checkout is the user's.
WRITABLE = (".cache", ".git", ".hypothesis", ".pytest_cache", ".ruff_cache", ".import_linter_cache", ".venv")


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
    """`--thorough` adds what takes another half hour: variants of cases and parameters of which some run every time."""
    parser.addoption("--thorough", action="store_true", help="also run the tests marked thorough")


# Left to `--thorough`: further parameters of tests of which one or two run every time, and long fits whose parts others
# hold to account. Patterns of node ids.
SELDOM = (
    "test_oracles.py::test_fit_reaches_the_floor*(banana|funnel|student-t|8gaussians)",
    "test_spline_maps.py::test_on_the_knots_with_wild_parameters*(Quadratic|Linear|Circular|Moebius)",
    "test_masked.py::test_steps_agree_with_the_call_and_each*Res",
    "test_integral_maps.py::test_there_and_back_and_finite_gradients_in_single_precision*(Clenshaw|sum|Sum)",
    "test_lipschitz.py::test_the_bound_holds_for_any_weights\\[0",
    "test_units.py::test_finite_at_extremes*float64",
    "test_zoo.py::test_linear_layers*(permutation|callable)",
    "test_mixture_flows.py::test_a_short_fit_beats_a_normal*(flowpp|gaussianization|bernstein)",
    "test_block_autoregressive.py::test_a_short_fit_is_better_than_a_gaussian*",
    "test_density.py::test_pipeline_grid_search_and_clone",
    "test_mixed.py::test_verified",
    "test_laws_of_cases.py::test_inverted*(Vmap|Partial|WithCondition|LULinear)",
    "test_oracles.py::test_fit_reaches_the_floor*checkerboard",
    "test_lipschitz.py::test_norm_of_a_convolution*\\[(1|5)",
    "test_toy2d.py::test_density_integrates_to_one*moons",
    "test_circular.py::test_fits_a_mixture_of_von_mises",
    "test_density.py::test_one_column",
    "test_reflow.py::test_reflow_straightens_a_trained_flow",
    "test_guidance.py::test_training_with_dropped_conditions_learns_both",
    "test_score_matching.py::test_fit_(brings_an_energy|trains_an_energy*sliced)",
    "test_sampling.py::test_samples_of_a_normal*(Langevin|sub-VP)",
    "test_boltzmann_machine.py::test_ratio_matching_recovers_couplings\\[ratio",
    "test_continuous.py::test_random_traces_are_unbiased*(HutchPlusPlus|gaussian)",
    "test_trajectories.py::test_two_columns_at_several_times",
    "test_neural_ode.py::test_the_order_between_steps*euler",
    "test_docs.py::test_snippets_run*(pictures|continuous|flow_matching|neural_ode|score_matching)",
    "test_docs.py::test_snippets_run*(first_density|conditional_density|tables)",
    "test_laws_of_cases.py::test_all_laws*Elementwise, (integral|cubic spline)",
    "test_laws_of_cases.py::test_float32*(StudentTCDF|Elementwise, Bernstein)",
    "test_oracles.py::test_fit_reaches_the_floor*mixture",
    "test_regularized.py::test_the_integrals_of_a_linear_field*exact",
    "test_guidance.py::test_guidance_moves_away",
    "test_mixture_oracle.py",
    "test_trajectories.py::test_field",
    "test_bridge.py::test_pairs_of_the_entropic_plan",
    "test_accuracy.py::test_conditional_flows_of_two_fields",
    "test_score_matching.py::test_the_exact_trace_is_that_of_the_hessian",
    "test_neural_ode.py::test_(times_that_are_all_one|the_start_may_stand)",
    "test_flow_matching.py::test_fit_ends_with_a_density",
    "test_reflow.py::test_the_straight_field_is_the_minimum",
    "test_sampling.py::test_samples_of_a_normal*Runge-Kutta",
    "test_regularized.py::test_without_prices",
    "test_spline_maps.py::test_gradients_are_finite_everywhere*float64-(Moebius|Quadratic|Linear|Circular|Cubic)",
    "test_sampling.py::test_rows_depend_on_their_own_key_alone",
    "test_cli.py::test_(figures_of_the_way|schema_can_be_edited)",
    "test_doctor.py::test_the_self_test_of_a_real_flow",
    "test_docs.py::test_snippets_run*reference/bijections",
    "(tune|evaluate|block_autoregressive|residual).py::pushforward",
    "test_mixed.py::test_what_the_checks_of_a_table_are_for",
    "test_continuous.py::test_the_order_of_each_method_in_use*(euler|heun)",
    "test_golden.py::test_scores_and_samples_as_when_it_was_saved\\[format1\\]",
    "test_angles.py::test_hours_and_degrees",
    "test_evolve.py::test_the_last_time_is_the_flow",
    "test_integral_maps.py::test_there_and_back_and_finite_gradients_in_single_precision*Bernstein",
    "test_export.py::test_exports_are_the_model*sylvester",
    "test_residual.py::test_fit_returns_what_is_scored",
    "test_continuous.py::test_masses_are_trained_beside",
    "test_trajectories.py::test_one_column",
    "test_boltzmann_machine.py::test_ratio_matching_recovers_couplings\\[twin",
    "test_sklearn_checks.py*(sample_weight_equivalence_on_dense|sample_weights_pandas|dtype_object|estimators_dtypes)",
    "test_mixed.py::test_(mixed_conditions|weights_count_rows)",
    "test_evaluate.py::test_a_conditional_model_draws",
    "test_laws_of_cases.py::test_inverted*(Scan|EmbedCondition)",
    "test_laws_of_cases.py::test_float32*(Residual|Coupling, spline)",
    "test_neural_ode.py::test_gradients_of_a_loss_at_several_times_agree*FixedSteps",
)
# One test of these takes a minute or more: begun last, it would leave the other worker idle.
LONGEST = ("test_readme.py", "test_docs.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest tests first, one after another: documents that fit the same tables share compiled programs."""
    if not config.getoption("--thorough"):
        seldom = re.compile("|".join(pattern.replace("*", ".*") for pattern in SELDOM))
        left_out = {item for item in items if item.get_closest_marker("thorough") or seldom.search(item.nodeid)}
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=lambda item: item.path.name not in LONGEST)


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
    config.addinivalue_line("markers", "thorough: run with --thorough alone")
    sys.addaudithook(_refuse_write)
