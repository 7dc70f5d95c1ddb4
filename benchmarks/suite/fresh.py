"""Work that has to be done by a process that has done nothing before: the first step, a whole fit, a peak of memory.

`python -m suite.fresh first_step LIBRARY MODEL N_LAYERS DIM`, `python -m suite.fresh fit LIBRARY MODEL SEED` and
`python -m suite.fresh memory torchdiffeq GRADIENT N_STEPS DIM` print a line of JSON. Importing the libraries and
reading the data are not timed, making the flow is timed on its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from suite.work import BATCH, BINS, BOUND, DEPTH, N_LAYERS, WIDTH
from suite.worker import pin

ARCHITECTURE = f"{N_LAYERS} layers of {DEPTH} x {WIDTH}, {BINS} bins on [-{BOUND:g}, {BOUND:g}]"


def first_step(library: str, model: str, n_layers: int, dim: int) -> dict[str, Any]:
    import numpy as np

    from suite.adapters import make

    adapter = make(library)
    rows = np.random.default_rng(0).standard_normal((BATCH, dim), dtype=np.float32)
    start = time.perf_counter()
    adapter.build(model, dim, n_layers, 0)
    built = time.perf_counter()
    adapter.load(rows)
    adapter.step()
    stepped = time.perf_counter()
    adapter.step()
    return {"build": built - start, "step": stepped - built, "second": time.perf_counter() - stepped}


def _split(rows: Any, seed: int) -> tuple[Any, Any]:
    """The split that flowjax's `fit_to_data` makes of `rows` for this key, for both libraries."""
    import jax
    from flowjax.train.train_utils import train_val_split

    split_key = jax.random.split(jax.random.key(seed))[1]
    (train,), (held_out,) = train_val_split(split_key, [jax.numpy.asarray(rows, "float32")], val_prop=0.1)
    return train, held_out


def fit(library: str, model: str, seed: int) -> dict[str, Any]:
    import numpy as np

    from suite.data import ten_thousand_by_eight

    rows, test, name = ten_thousand_by_eight()
    rows, test = np.float32(rows), np.float32(test)
    fitted = {"pushforward": _fit_ours, "flowjax": _fit_flowjax}[library](model, rows, test, seed)
    return {"data": name} | fitted


def _fit_flowjax(model: str, rows: Any, test: Any, seed: int) -> dict[str, Any]:
    import jax
    import numpy as np
    from flowjax.train import fit_to_data

    from suite.adapters.flowjax_ import construct

    _split(rows, seed)  # only so that both processes have started JAX, and made this split, before the clock starts
    start = time.perf_counter()
    flow = construct(model, rows.shape[1], N_LAYERS, seed)
    built = time.perf_counter()
    # Its own defaults: Adam at 5e-4, batches of 100, at most 100 epochs, patience 5, a tenth held out.
    flow, losses = fit_to_data(jax.random.key(seed), flow, rows, show_progress=False)
    jax.block_until_ready(jax.tree.leaves(flow)[0])
    done = time.perf_counter()
    nats = np.asarray(jax.jit(lambda x: flow.log_prob(x))(test))
    return {
        "build": built - start,
        "seconds": done - built,
        "epochs": len(losses["val"]),
        "held_out": -min(losses["val"]),
        "test": float(nats.mean()),
        "test_error": float(nats.std() / np.sqrt(len(nats))),
        "settings": f"fit_to_data defaults; {ARCHITECTURE}",
    }


def _fit_ours(model: str, rows: Any, test: Any, seed: int) -> dict[str, Any]:
    import jax
    import numpy as np

    import pushforward as pf
    from suite.adapters.pushforward_ import construct

    train, held_out = (np.asarray(part) for part in _split(rows, seed))
    start = time.perf_counter()
    flow = construct(model, rows.shape[1], N_LAYERS, seed)
    built = time.perf_counter()
    result = pf.training.fit(flow, train, key=jax.random.key(seed), validation=held_out, progress=False)
    jax.block_until_ready(jax.tree.leaves(pf.trainable(result.flow)[0]))
    done = time.perf_counter()
    nats = np.asarray(result.flow.log_prob(test))
    history = {name: np.asarray(result.history[name]).tolist() for name in ("epoch", "seconds", "held_out_nats")}
    return {
        "build": built - start,
        "seconds": done - built,
        "epochs": int(result.verdict.epochs),
        "held_out": float(max(history["held_out_nats"])),
        "test": float(nats.mean()),
        "test_error": float(nats.std() / np.sqrt(len(nats))),
        "status": result.verdict.status,
        "history": history,
        "settings": f"fit defaults; {ARCHITECTURE}",
    }


def memory(library: str, gradient: str, n_steps: int, dim: int) -> dict[str, Any]:
    """Growth of the process at its peak, in a training step of torchdiffeq, the only library that has no other way."""
    import numpy as np

    from suite.adapters.torchdiffeq_ import peak_memory

    rows = np.random.default_rng(0).standard_normal((BATCH, dim), dtype=np.float32)
    return {"bytes": peak_memory(gradient, n_steps, dim, rows)}


def main() -> None:
    pin()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    what, library, model, *numbers = sys.argv[1:]
    answer = {"first_step": first_step, "fit": fit, "memory": memory}[what](library, model, *map(int, numbers))
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
