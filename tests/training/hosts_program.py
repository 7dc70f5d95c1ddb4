"""One process of a fit on several hosts; run by `test_hosts.py`.

python hosts_program.py COORDINATOR PROCESS_ID N_PROCESSES OUT.npz [FOLDER [SECONDS_PER_ROW]]
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import jax
import numpy as np


def main(coordinator: str, process_id: str, n_processes: str, out: str, folder: str = "", wait: str = "0") -> None:
    import pushforward as pf
    from pushforward.training import Checkpoint, Devices, Reporting, Steps
    from pushforward.training.hosts import HOST_LOST

    jax.config.update("jax_enable_x64", True)
    n = int(n_processes)
    devices: Any = None
    if n > 1:
        pf.training.connect(coordinator, int(process_id), n)
        devices = Devices("all", shard_weights=True)
    x = 1.0 + 2.0 * np.random.default_rng(0).normal(size=(203, 3))
    flow = pf.flows.realnvp(jax.random.key(1), dim=3, n_layers=2, width=4)

    def tell(row: dict[str, float]) -> None:
        print("step", row["step"], flush=True)
        time.sleep(float(wait))

    options: list[Any] = [Steps(batch_size=50), Reporting(callback=tell)]
    if folder:
        options.append(Checkpoint(folder, seconds=0.0, resume=True))
    how: dict[str, Any] = {"max_epochs": 40, "progress": False, "devices": devices, "options": options}
    try:
        result = pf.fit(flow, x, key=jax.random.key(2), **how)
    except pf.training.HostLostError as error:
        print(error, flush=True)
        os._exit(HOST_LOST)
    leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(pf.trainable(result.flow)[0])]
    if int(process_id) == 0:
        columns = {name: column for name, column in result.history.items() if name != "seconds"}
        arrays: Any = {"weights": np.concatenate(leaves), **columns}
        np.savez(out, **arrays)
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
