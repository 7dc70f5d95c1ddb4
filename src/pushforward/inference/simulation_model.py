"""What all models of simulations share: their checks, and folders of JSON and safetensors that hold them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from pushforward._checks import check_int, message
from pushforward._types import Shape
from pushforward.inference.priors import AbstractPrior, prior_from
from pushforward.inference.simulations import Simulations, check_failed, simulations_of
from pushforward.training import FitResult


class AbstractSimulationModel(ABC):
    """A model of pairs of parameters and simulations, which `fit` trains and a folder holds.

    Attributes:
        ARGUMENTS: Names of the arguments that a folder keeps, beside the prior.
        OBJECTS: Names of the arguments that a folder cannot keep, such as modules.
    """

    ARGUMENTS: ClassVar[tuple[str, ...]]
    OBJECTS: ClassVar[tuple[str, ...]] = ()

    prior: Any
    prior_: AbstractPrior
    distribution_: Any
    result_: FitResult
    n_failed_: int
    failed: str
    random_state: int

    def _start(self, prior: Any, failed: str, random_state: int, n_members: int | None = None) -> None:
        """Keep and check the arguments that all these models have."""
        name = type(self).__name__
        self.prior, self.random_state = prior, check_int(name, "random_state", random_state, 0)
        self.failed = check_failed(name, failed)
        if n_members is not None:
            check_int(name, "n_members", n_members, 1)
        self.prior_ = prior_from(prior, name)

    def _pairs(self, theta: Any, x: Any, *, vectors: bool) -> Simulations:
        """The pairs that `fit` was given, checked; `vectors` refuses simulations of more than one axis."""
        name = f"{type(self).__name__}.fit"
        found = simulations_of(name, theta, x, self.prior_, check_failed(type(self).__name__, self.failed))
        if vectors and len(found.x_shape) != 1:
            fix = "Summarise images, series and sets first, or use NPE with an embedding."
            raise ValueError(message(name, "x of shape (n, m)", f"{found.x.shape}", fix))
        self.n_failed_ = found.n_failed
        return found

    def _check_fitted(self) -> None:
        if "distribution_" not in vars(self):
            fix = "Call fit(theta, x) first."
            raise ValueError(message(type(self).__name__, "a fitted model", "one that is not", fix))

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """What a folder keeps of the fit, as JSON, beside the weights."""

    @abstractmethod
    def _restore(self, facts: Mapping[str, Any]) -> Any:
        """Take the facts of a fit back, and return the shapes of the distribution's weights.

        Raises:
            UntrustedModelError: The facts contradict each other.
        """

    def save(self, folder: str | os.PathLike, *, force: bool = False) -> None:
        """Write the model to a folder of JSON and safetensors.

        Args:
            folder: Folder to write.
            force: Whether an existing one is replaced.
        """
        from pushforward.inference.saved import save

        self._check_fitted()
        save(self, folder, force)

    @classmethod
    def load(cls, folder: str | os.PathLike, *, prior: Any = None) -> Self:
        """Read a model from a folder, without running code from it.

        Args:
            folder: Folder that `save` wrote.
            prior: The prior, for one that a folder cannot hold: a distribution of numpyro or of this library, or a
                joint one of SciPy.

        Raises:
            UntrustedModelError: The folder is damaged, or holds another model.
            ValueError: The prior is missing.
        """
        from pushforward.inference.saved import load

        return load(cls, folder, prior)


def checked_shape(shape: Any, most: int = 100_000) -> Shape:
    """The shape of an observation in a folder.

    Raises:
        ValueError: It is the shape of no observation.
    """
    found = tuple(int(size) for size in shape)
    if not found or min(found) < 1 or int(np.prod(found)) > most:
        raise ValueError(f"observations of shape {found} are no observations")
    return found
