"""Several hosts that train one model: how they meet, what they must agree on, and what one says when another is lost.

Hosts are the processes of `jax.distributed`. All run the same program on the same arguments; what each decides by its
own clock or signals, such as the length of the next call, is decided by the first and told to the others (`Council`).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import signal
import sys
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

from pushforward._checks import check_int, message

HOST_LOST = 7  # exit code of a process whose fit has lost another host
HEARTBEAT_SECONDS = 20  # a host that is not heard of for so long is lost, also where its connections stay open
MEET_SECONDS = 300  # how long hosts wait for each other at the start
PART_SECONDS = 3600  # how long a host that is done waits at its end for the first one, which checks and saves
# What gloo, NCCL and the coordination service say of another process, and not of this one.
LOST = re.compile(
    r"gloo|connection (reset|closed|refused)|peer|heartbeat|unavailable|coordination|deadline|broken pipe|timed? ?out",
    re.IGNORECASE,
)


Tree = TypeVar("Tree")


class HostLostError(RuntimeError):
    """Another host of the fit is gone; with checkpoints the fit goes on by the same call with `resume=True`."""


def connect(
    coordinator: str | None = None,
    process_id: int | None = None,
    n_processes: int | None = None,
    *,
    local_devices: list[int] | None = None,
) -> int:
    """Join the hosts of a fit, before JAX is used for anything else; every host calls this.

    Args:
        coordinator: Address `host:port` of process 0, which must be free there. None, with the others, takes what the
            environment says: SLURM, Open MPI, Kubernetes, a TPU pod, or `JAX_COORDINATOR_ADDRESS`.
        process_id: Number of this process, from 0.
        n_processes: Number of all processes.
        local_devices: Numbers of the devices of this machine that this process takes; None takes all.

    Returns:
        The number of this process.

    Raises:
        ValueError: Some of the three are given and others not, or a number is out of its range.
        ConnectionError: The hosts did not meet, or the environment does not say where.

    Example:
        >>> import pushforward as pf
        >>> pf.training.connect("node1:5000", process_id=0, n_processes=2)  # doctest: +SKIP
        0
    """
    given = (coordinator, process_id, n_processes)
    if None in given and any(part is not None for part in given):
        fix = "Give all three, or none of them under SLURM."
        raise ValueError(message("connect", "coordinator, process_id and n_processes together", f"{given}", fix))
    if coordinator is not None and n_processes is not None:
        if not re.fullmatch(r".+:\d+", coordinator):
            fix = "Name the machine of process 0 and a free port of it."
            raise ValueError(message("connect", "a coordinator such as node1:5000", repr(coordinator)[:60], fix))
        check_int("connect", "n_processes", n_processes, 1)
        if not 0 <= check_int("connect", "process_id", process_id, 0) < n_processes:
            fix = "Number the processes from 0."
            raise ValueError(message("connect", f"process_id below {n_processes}", f"{process_id}", fix))
    config: Any = jax.config
    if config.jax_cpu_collectives_implementation in (None, "none"):
        jax.config.update("jax_cpu_collectives_implementation", "gloo")  # a CPU has no collectives of its own
    try:
        jax.distributed.initialize(
            coordinator,
            n_processes,
            process_id,
            local_devices,
            initialization_timeout=MEET_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=PART_SECONDS,
        )
    except ValueError as error:
        fix = "Give coordinator, process_id and n_processes, or start under SLURM (srun)."
        raise ConnectionError(f"connect: the environment names no coordinator: {error} {fix}") from error
    except RuntimeError as error:
        raise ConnectionError(f"connect: the hosts did not meet at {coordinator}: {str(error)[:300]}") from error
    _end_by_code()
    return jax.process_index()


def _leave(_signal: int) -> None:
    """End the process where JAX aborts it, because the first host died or another was not heard of."""
    reason = "JAX ended this process: see the lines above"
    sys.stderr.write(f"error: {_words(reason)}\n")
    sys.stderr.flush()
    os._exit(HOST_LOST)


# JAX's client of the coordination service aborts from a thread of its own, which no `except` sees, and Python's own
# handlers of signals run too late for SIGABRT; so C calls this one.
_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)(_leave)


def _end_by_code() -> None:
    if os.name == "posix":
        ctypes.CDLL(None).signal(int(signal.SIGABRT), _HANDLER)


def _words(reason: str) -> str:
    fix = "Start the fit again with its checkpoint and resume=True (--resume), on as many hosts as there are."
    return f"fit: another host is gone ({' '.join(reason.split())[:160]}). {fix}"


def part() -> None:
    """Leave the other hosts at the end of a fit; each waits here for the last one, and then needs no other any more."""
    jax.distributed.shutdown()


class Council:
    """What the hosts of a fit agree by. All call the same methods in the same order."""

    def any(self, flag: bool) -> bool:
        """Whether it is true for one of the hosts."""
        return bool(np.any(_gathered(np.int32(flag))))

    def of_first(self, tree: Tree) -> Tree:
        """The numbers of the first host."""
        return jax.tree.map(lambda leaf: np.asarray(leaf)[0], _gathered(tree))

    def check_alike(self, fingerprint: Mapping[str, Any], step: int) -> None:
        """Raise a ValueError if the hosts were called with different arguments, or begin at different steps.

        Args:
            fingerprint: Fingerprint of the fit.
            step: Step at which the fit begins.
        """
        marks = {part: zlib.crc32(json.dumps(value, sort_keys=True).encode()) for part, value in fingerprint.items()}
        found = _gathered(np.array([*marks.values(), step], np.int64).astype(np.int32))
        names = [*marks, "step of the checkpoint"]
        other = [name for name, column in zip(names, np.asarray(found).T, strict=True) if len(set(column.tolist())) > 1]
        if other:
            fix = "Call fit on every host with the same arguments, and with a checkpoint folder that all of them see."
            raise ValueError(message("fit", "the same fit on every host", f"others in: {', '.join(other)}", fix))


def _gathered(tree: Any) -> Any:
    from jax.experimental.multihost_utils import process_allgather

    return process_allgather(tree)


@contextlib.contextmanager
def hears_losses(enabled: bool) -> Iterator[None]:
    """A context in which the errors of collectives, when another host is gone, become a `HostLostError`.

    Args:
        enabled: Whether there are other hosts.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:  # JAX's own error is a RuntimeError
        if not enabled or isinstance(error, HostLostError) or not LOST.search(str(error)):
            raise
        raise HostLostError(_words(str(error))) from error
