"""Optimisers and schedules of the user's, and options as objects."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pushforward as pf
from interrupted import NEVER, affine, rows, run, same, stop_at
from pushforward.training import Adam, Checkpoint, Preprocess, Reporting, Steps, Stopping, fit

KEY = jax.random.key(0)
PLAIN: dict[str, Any] = {"key": KEY, "validation": None, "progress": False}

OPTIMIZERS = {
    "sgd": lambda: optax.sgd(0.05, momentum=0.9),
    "adamw, masked": lambda: optax.adamw(0.02, weight_decay=0.1, mask=lambda params: True),
    "of several parts": lambda: optax.chain(optax.clip(1.0), optax.adam(optax.linear_schedule(0.05, 0.0, 400))),
    "line search": lambda: optax.lbfgs(),
    "plateau": lambda: optax.chain(optax.adam(0.02), optax.contrib.reduce_on_plateau(patience=50)),
    "every second step": lambda: optax.MultiSteps(optax.adam(0.05), 2).gradient_transformation(),
    "numbers in the state": lambda: optax.inject_hyperparams(optax.adam)(learning_rate=0.02),
    "finite or not": lambda: optax.apply_if_finite(optax.adam(0.02), 3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optax_transformation_trains(name: str):
    x = rows()
    result = fit(affine(), x, optimizer=OPTIMIZERS[name](), max_epochs=120, **PLAIN)
    flow: Any = result.flow
    np.testing.assert_allclose(flow.bijection.loc, x.mean(0), atol=0.1)
    np.testing.assert_allclose(np.exp(flow.bijection.log_scale), x.std(0), rtol=0.1)
    assert np.allclose(result.history["learning_rate"], 1.0)  # its updates are added as they are


@pytest.mark.parametrize("name", ["of several parts", "every second step", "finite or not"])
@pytest.mark.usefixtures("short_calls")
def test_its_state_is_in_the_checkpoint(name: str, tmp_path: Path):
    how = {"learning_rate": None, "optimizer": OPTIMIZERS[name](), "max_epochs": 20}
    whole = run(**how)
    run(tmp_path / "fit", seconds=NEVER, callback=stop_at(100), **how)
    how["optimizer"] = OPTIMIZERS[name]()  # another object of the same program
    assert same(run(tmp_path / "fit", resume=True, **how), whole)


def test_a_key_in_the_state_is_refused_where_it_cannot_be_written(tmp_path: Path):
    optimizer = optax.chain(optax.add_noise(0.01, 0.55, jax.random.key(0)), optax.sgd(0.01))
    fit(affine(), rows(), optimizer=optimizer, max_epochs=2, **PLAIN)
    with pytest.raises(TypeError, match="without a checkpoint"):
        fit(affine(), rows(), optimizer=optimizer, max_epochs=2, options=Checkpoint(tmp_path), **PLAIN)


def test_a_schedule_is_followed_step_by_step():
    schedule: Any = optax.piecewise_constant_schedule(0.02, {30: 0.5, 60: 0.1})
    history = fit(affine(), rows(), schedule=schedule, max_epochs=40, **PLAIN).history
    np.testing.assert_allclose(
        history["learning_rate"], [np.asarray(schedule(step)).item() for step in history["step"]], rtol=1e-6
    )
    still = fit(affine(), rows(), schedule=lambda step: jnp.where(step < 60, 0.0, 0.0), max_epochs=40, **PLAIN)
    np.testing.assert_array_equal(still.flow.bijection.loc, affine().bijection.loc)  # type: ignore[attr-defined]
    factor = fit(affine(), rows(), optimizer=optax.sgd(1.0), schedule=lambda step: 0.1, max_epochs=10, **PLAIN)
    plain = fit(affine(), rows(), optimizer=optax.sgd(0.1), max_epochs=10, **PLAIN)
    np.testing.assert_allclose(factor.flow.bijection.loc, plain.flow.bijection.loc, rtol=1e-6)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"optimizer": 0.01}, TypeError, "Adam or an optax transformation"),
        ({"schedule": 0.01}, TypeError, "a function from a step"),
        ({"schedule": lambda step: 0.1, "optimizer": Adam(0.1)}, ValueError, "one source of the learning rate"),
        ({"schedule": lambda step: 0.1 if step < 3 else 0.2}, TypeError, "jnp.where"),
        ({"options": Adam()}, TypeError, "Pass it as optimizer="),
        ({"options": "fast"}, TypeError, "options among Stopping, Steps"),
        ({"options": [Stopping(), Steps(), Stopping()]}, ValueError, "one Stopping at most"),
    ],
)
def test_errors_name_the_fix(change: dict[str, Any], error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        fit(affine(), rows(), **PLAIN, **change)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [(Adam, (-1.0,)), (Adam, (0.1, -1.0)), (Stopping, (0.0,)), (Steps, (0,)), (Steps, (1, 1.0)), (Reporting, None)],
)
def test_options_check_their_numbers(kind: Any, arguments: Any):
    if arguments is None:
        with pytest.raises(TypeError, match="a bijection"):
            Preprocess(np.ones(2))  # type: ignore[arg-type]
        return
    with pytest.raises(ValueError, match=f"{kind.__name__}: expected"):
        kind(*arguments)


class Looking(pf.MaximumLikelihood):
    """Maximum likelihood that notes from where it is called."""

    seen: Any = eqx.field(static=True, default=None)

    def per_row(self, flow: Any, x: Any, condition: Any = None, key: Any = None) -> Any:
        self.seen.append([frame for frame in traceback.extract_stack() if "pushforward/training" in frame.filename])
        return super().per_row(flow, x, condition, key)


class Seen(list):
    __hash__ = object.__hash__  # type: ignore[assignment]


def test_four_frames_lead_from_fit_to_the_gradient():
    seen = Seen()
    fit(affine(), rows(), objective=Looking(seen=seen), max_epochs=1, **PLAIN)
    assert [frame.name for frame in seen[0]] == ["fit", "run", "segment", "step", "loss"]
