"""The state of a ladder in a folder, stored after each stage, from which another process goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pushforward._files import MANIFEST, parse_json, read_manifested
from pushforward.inference.budget import Budget
from pushforward.inference.candidates import Fitted, Fitter
from pushforward.inference.ladder import Rung
from pushforward.inference.target import Target
from pushforward.io.files import write_folder
from pushforward.io.weights import weights_from_bytes, weights_to_bytes

STATE, RECORD = "ladder.safetensors", "ladder.json"
FORMAT = "pushforward ladder"
CAPS = {STATE: 2**33, RECORD: 2**24}


class LadderStore:
    """The folder of one ladder.

    Args:
        folder: The folder, or None to store nothing.
        resume: Whether to go on from what it holds.
        target: The target, whose names tell whether the folder is of the same one.
        n: Number of particles.
        key: JAX key of the inference.

    Raises:
        FileExistsError: The folder holds a ladder, and `resume` is False.
    """

    def __init__(self, folder: Any, resume: bool, target: Target, n: int, key: Any):
        self.folder, self.resume = None if folder is None else Path(folder), resume
        seed = np.asarray(jax.random.key_data(key)).ravel().tolist()
        self.fingerprint = {"names": list(target.names), "particles": n, "key": seed}
        if self.folder is not None and (self.folder / RECORD).exists() and not resume:
            fix = "Pass resume=True to go on with it, name another folder, or remove it."
            raise FileExistsError(f"infer: {self.folder} holds the state of an earlier inference. {fix}")

    def save(self, rung: Rung, budget: Budget) -> None:
        """Write the state: complete under its name, or not at all."""
        if self.folder is None:
            return
        arrays = {"u": rung.u, "log_p": rung.log_p, "kept": rung.kept.transport, "trained": rung.trained}
        record = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "temperature": rung.temperature,
            "log_z": rung.log_z,
            "log_step": rung.log_step,
            "stage": rung.stage,
            "kept": rung.kept.name,
            "n_evaluated": rung.n_evaluated,
            "n_faults": rung.n_faults,
            "history": list(rung.history),
            "spent": budget.spent,
            "elapsed": budget.elapsed,
        }
        text = json.dumps(record, indent=1, allow_nan=False).encode()
        files = {STATE: weights_to_bytes(arrays), RECORD: text}
        write_folder(self.folder, files, force=True, known=(*files, MANIFEST))

    def restore(self, fitter: Fitter, budget: Budget) -> Rung | None:
        """The state in the folder, if there is one and it may be taken.

        Raises:
            ValueError: It belongs to another target, key or number of particles.
            UntrustedModelError: It is damaged.
        """
        if self.folder is None or not self.resume or not (self.folder / RECORD).exists():
            return None
        files = read_manifested(self.folder, CAPS, needed=(STATE, RECORD))
        record = parse_json(files[RECORD], self.folder / RECORD)
        if record["format"] != FORMAT or record["fingerprint"] != self.fingerprint:
            fix = "Call infer exactly as before, or name another folder."
            raise ValueError(f"infer: {self.folder} belongs to another target, key or number of draws. {fix}")
        n, d = self.fingerprint["particles"], len(self.fingerprint["names"])
        plain = fitter.plain(np.random.default_rng(0).normal(size=(2 * d + 2, d)))
        if record["kept"] in ("new flow", "old flow"):
            plain = plain._replace(bijection=fitter.start)
        template = {"u": np.zeros((n, d)), "log_p": np.zeros(n), "kept": plain, "trained": fitter.start}
        arrays = weights_from_bytes(template, files[STATE], str(self.folder / STATE))
        budget.spent, budget.before = int(record["spent"]), float(record["elapsed"])
        return Rung(
            np.asarray(arrays["u"]),
            np.asarray(arrays["log_p"]),
            record["temperature"],
            record["log_z"],
            record["log_step"],
            record["stage"],
            Fitted(arrays["kept"], record["kept"], float("nan")),
            arrays["trained"],
            record["n_evaluated"],
            record["n_faults"],
            tuple(record["history"]),
        )
