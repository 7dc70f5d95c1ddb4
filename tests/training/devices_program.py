"""Fits on several simulated devices beside the same fit on one; run by `test_devices.py` in a process of its own.

XLA_FLAGS=--xla_force_host_platform_device_count=8 python devices_program.py likelihood
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import pushforward as pf
from pushforward.training import Checkpoint, Devices, Preprocess, Reporting, Steps, array_stream

KEY = jax.random.key(2)
N, DIM = 203, 3  # 183 rows are trained on, in four batches of 46 or 45


def rows() -> np.ndarray:
    return 1.0 + 2.0 * np.random.default_rng(0).normal(size=(N, DIM))


def realnvp() -> Any:
    return pf.flows.realnvp(jax.random.key(1), dim=DIM, n_layers=2, width=4)


def vector(flow: Any) -> np.ndarray:
    leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(pf.trainable(flow)[0])]
    return np.concatenate(leaves).astype(np.float64)


def fit(flow: Any, devices: Any, *options: Any, x: Any = None, batch_size: int = 50, **more: Any) -> pf.FitResult:
    x = rows() if x is None else x
    how = {"max_epochs": 4, "progress": False, "devices": devices, **more}
    return pf.fit(flow, x, key=KEY, options=[Steps(batch_size=batch_size), *options], **how)


def gaps(flow: Any, one: pf.FitResult, many: pf.FitResult) -> dict[str, float]:
    names = [name for name in one.history if name != "seconds"]
    off = [np.max(np.abs(one.history[name] - many.history[name]) / (1 + np.abs(one.history[name]))) for name in names]
    return {
        "weights": float(np.max(np.abs(vector(one.flow) - vector(many.flow)))),
        "history": float(max(off)),
        "moved": float(np.max(np.abs(vector(one.flow) - vector(flow)))),
    }


def likelihood() -> dict[str, Any]:
    flow, weights = realnvp(), np.random.default_rng(1).uniform(size=N)
    one = fit(flow, None, weights=weights)
    many = {"8": 8, "3, sharded": Devices(3, shard_weights=True)}
    return {name: gaps(flow, one, fit(flow, devices, weights=weights)) for name, devices in many.items()}


def streams() -> dict[str, Any]:
    """From a stream, in batches of fewer rows than devices, with a preprocessing, and on meshes of all kinds."""
    flow, found = realnvp(), {}
    one = fit(flow, None)
    for name, devices in {"2": 2, "explicit": jax.make_mesh((4,), ("rows",)), "1": 1}.items():
        found[name] = gaps(flow, one, fit(flow, devices))
    grid = jax.sharding.Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "model"))
    found["grid"] = gaps(flow, one, fit(flow, grid))
    found["stream"] = gaps(flow, one, fit(flow, 8, x=array_stream(rows(), key=KEY)))
    found["small batches"] = gaps(flow, fit(flow, None, batch_size=5), fit(flow, 8, batch_size=5))
    units = Preprocess(pf.Standardize.fit(0.5 * rows()))
    found["preprocessed"] = gaps(flow, fit(flow, None, units), fit(flow, 3, units))
    with jax.set_mesh(jax.make_mesh((8,), ("mine",))):
        found["within an explicit mesh"] = gaps(flow, one, fit(flow, 2))
    return found


def drawn() -> dict[str, Any]:
    """Objectives with draws for each row, times that are dealt over the batch, and no rows at all."""
    field = pf.flows.flow_matching(jax.random.key(1), dim=DIM, width=4, depth=1)
    found = {f"flow matching, {n}": gaps(field, fit(field, None), fit(field, n)) for n in (2, 3)}
    flow = realnvp()
    target = pf.objectives.ReverseKL(lambda z: -0.5 * jnp.sum((z - 1.0) ** 2), n_samples=32)
    how: dict[str, Any] = {"key": KEY, "objective": target, "max_epochs": 1, "progress": False}
    found["reverse KL"] = gaps(flow, pf.fit(flow, **how), pf.fit(flow, devices=3, **how))
    return found


def checkpoints() -> dict[str, Any]:
    """A fit that begins on eight devices and goes on with three, and one that goes on with one."""
    flow, found = realnvp(), {}
    one = fit(flow, None)

    def stop(_: Any) -> None:
        raise KeyboardInterrupt

    for name, devices in {"3, sharded": Devices(3, shard_weights=True), "1": None}.items():
        folder = Path(tempfile.mkdtemp()) / "fit"
        begun = fit(flow, Devices(8, shard_weights=True), Checkpoint(folder), Reporting(callback=stop))
        assert begun.verdict.status == "interrupted"
        found[name] = gaps(flow, one, fit(flow, devices, Checkpoint(folder, resume=True)))
    return found


def gradients() -> dict[str, Any]:
    """The gradient of one step, for 1, 2 and 8 devices and every remainder."""
    from pushforward.training.devices import devices_of
    from pushforward.training.step import make_loss

    flow, found = pf.flows.maf(jax.random.key(1), dim=DIM, n_layers=1, width=4), {}
    params, rest = pf.trainable(flow)

    def of(placement: Any, n: int) -> np.ndarray:
        x = jnp.pad(jnp.asarray(rows()[:n]), ((0, -n % 32), (0, 0)))
        weights = (jnp.arange(len(x)) < n) * 1.0
        loss = make_loss(pf.MaximumLikelihood(), lambda own: pf._types.combine(own, rest))

        def value(params: Any) -> Any:
            dealt = (x, weights) if placement is None else (placement.rows(x), placement.rows(weights))
            return loss(params, dealt[0], None, dealt[1], None, 1.0)[0]

        return vector(jax.jit(jax.grad(value))(params))

    for n in (32, 33, 50, 64):
        alone = of(None, n)
        for k in (1, 2, 3, 8):
            with devices_of(k).placement().context():
                gap = float(np.max(np.abs(of(devices_of(k).placement(), n) - alone)))
            found[f"{n} rows, {k} devices"] = {"weights": gap, "history": gap, "moved": float(np.max(np.abs(alone)))}
    return found


def scores() -> dict[str, Any]:
    """Log-densities on several devices, of a density, of an estimate with keys, and given conditions."""
    found, x = {}, rows()
    exact = realnvp()
    random = pf.flows.ffjord(jax.random.key(1), dim=DIM, width=4, depth=1)
    for name, flow in {"exact": exact, "random": random}.items():
        key = KEY if flow.needs_key else None
        own = np.asarray(flow.log_prob(x, key=key))
        for n in (1, 3, 8):
            gap = float(np.max(np.abs(pf.training.log_prob(flow, x, key=key, devices=n, chunk_rows=16) - own)))
            found[f"{name}, {n}"] = {"weights": gap, "history": gap, "moved": float(np.ptp(own))}
    given = pf.flows.maf(jax.random.key(1), dim=2, condition_dim=1, n_layers=1, width=4)
    own = np.asarray(given.log_prob(x[:, :2], x[:, 2:]))
    gap = float(np.max(np.abs(pf.training.log_prob(given, x[:, :2], x[:, 2:], chunk_rows=16) - own)))
    found["given"] = {"weights": gap, "history": gap, "moved": float(np.ptp(own))}
    return found


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    parts = (likelihood, streams, drawn, checkpoints, gradients, scores)
    print(json.dumps({part.__name__: part for part in parts}[sys.argv[1]]()))
