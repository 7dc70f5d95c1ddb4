"""Glow's training step and samples against normflows' Glow: the same work, in one run, in turn.

Both have the same scales and steps of ActNorm, 1x1 convolution by LU and affine coupling with a network of kernels 3, 1
and 3, over a normal latent, and Adam. Each library runs in a process of its own; rounds alternate between them, and
the median of the rounds' ratios is printed, of clock time and of CPU time (which other work on the machine hardly
changes). normflows and PyTorch live in another environment:

    python -m venv /tmp/peers && /tmp/peers/bin/pip install torch==2.13.0 normflows
    python benchmarks/image_steps.py --peer /tmp/peers/bin/python
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

# From the name of a task to a function that runs it once.
Tasks = dict[str, Callable[[], Any]]
CALLS = 3  # of a task in each round


def ours(size: dict[str, int]) -> Tasks:
    """The tasks of pushforward."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax

    import pushforward as pf

    key, shape = jax.random.key(0), (size["channels"], size["side"], size["side"])
    flow = pf.images.glow(
        key, shape=shape, n_scales=size["scales"], n_steps=size["steps"], width=size["width"], learned_split=False
    )
    x = jax.random.normal(key, (size["batch"], *shape))
    flow = pf.bijections.initialise(flow, x)
    params, rest = pf.trainable(flow)
    optimiser = optax.adam(1e-4)

    @eqx.filter_jit(donate="all")
    def step(params: Any, state: Any) -> Any:
        value, gradient = jax.value_and_grad(lambda p: -jnp.mean(pf.combine(p, rest).log_prob(x)))(params)
        updates, state = optimiser.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    sample = jax.jit(lambda key: flow.sample(key, (size["batch"],)))
    held: list[Any] = [jax.tree.map(jnp.copy, params), optimiser.init(params)]

    def train() -> None:
        *held[:], value = step(*held)
        jax.block_until_ready(value)

    return {"train": train, "sample": lambda: jax.block_until_ready(sample(key))}


def normflows(size: dict[str, int]) -> Tasks:
    """The tasks of normflows."""
    import normflows as nf
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(size["threads"])
    shape, scales = (size["channels"], size["side"], size["side"]), size["scales"]
    bases, merges, flows = [], [], []
    for level in range(scales):
        inner = []
        channels = shape[0] * 2 ** (scales + 1 - level)
        for _ in range(size["steps"]):
            inner.append(nf.flows.GlowBlock(channels, size["width"], scale=True, init_zeros=True))
        inner.append(nf.flows.Squeeze())
        flows.append(inner)
        if level > 0:
            merges.append(nf.flows.Merge())
            latent = (channels // 2, shape[1] // 2 ** (scales - level), shape[2] // 2 ** (scales - level))
        else:
            latent = (channels, shape[1] // 2**scales, shape[2] // 2**scales)
        bases.append(nf.distributions.DiagGaussian(latent, trainable=False))
    model = nf.MultiscaleFlow(bases, flows, merges, class_cond=False)
    x = torch.randn(size["batch"], *shape)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    model.log_prob(x, None)

    def train() -> None:
        optimiser.zero_grad()
        loss = -model.log_prob(x, None).mean()
        loss.backward()
        optimiser.step()

    def sample() -> None:
        with torch.no_grad():
            model.sample(size["batch"])

    return {"train": train, "sample": sample}


def serve(tasks: Tasks) -> None:
    """Run the tasks that standard input names, and print what each took, in milliseconds of the clock and of CPUs."""
    for line in sys.stdin:
        task = tasks[line.strip()]
        task()
        clock, cpu = time.perf_counter(), time.process_time()
        for _ in range(CALLS):
            task()
        taken = [1e3 * (time.perf_counter() - clock) / CALLS, 1e3 * (time.process_time() - cpu) / CALLS]
        print("RESULT", json.dumps(taken), flush=True)


def ask(worker: subprocess.Popen, task: str) -> list[float]:
    """What one round of a task took in a worker."""
    worker.stdin.write(task + "\n")  # type: ignore[union-attr]
    worker.stdin.flush()  # type: ignore[union-attr]
    for line in worker.stdout:  # type: ignore[union-attr]
        if line.startswith("RESULT"):
            return json.loads(line[6:])
    raise RuntimeError("The worker ended without a result; its error stands above.")


def main() -> None:
    """Compare the two, or serve as a worker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=sys.executable, help="Python of the environment that has normflows")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", choices=("ours", "normflows"))
    defaults = {"channels": 1, "side": 28, "scales": 2, "steps": 8, "width": 64, "batch": 64, "threads": 1}
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = vars(parser.parse_args())
    size = {name: given[name] for name in defaults}
    if given["worker"]:
        serve({"ours": ours, "normflows": normflows}[given["worker"]](size))
        return
    flags = [word for name, value in size.items() for word in (f"--{name}", str(value))]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    pythons = {"ours": sys.executable, "normflows": given["peer"]}
    workers = {
        name: subprocess.Popen([python, __file__, "--worker", name, *flags], **pipes)
        for name, python in pythons.items()
    }
    print(json.dumps(size))
    for task in ("train", "sample"):
        rounds = [{name: ask(worker, task) for name, worker in workers.items()} for _ in range(given["rounds"])]
        for place, what in enumerate(("clock", "CPU")):
            ratio = statistics.median(one["normflows"][place] / one["ours"][place] for one in rounds)
            best = {name: min(one[name][place] for one in rounds) for name in workers}
            print(
                f"{task:6s} {what:5s} ours {best['ours']:8.1f} ms, normflows {best['normflows']:8.1f} ms, "
                f"median ratio {ratio:.2f}"
            )
    for worker in workers.values():
        worker.stdin.close()  # type: ignore[union-attr]
        worker.wait()


if __name__ == "__main__":
    main()
