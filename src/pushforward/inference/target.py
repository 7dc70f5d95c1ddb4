"""Targets of inference: log-densities known up to a constant, over parameters with supports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_floats, check_int, message
from pushforward._types import Array
from pushforward.bijections.supports import AbstractSupport, Real
from pushforward.inference.densities import AbstractDensity, HostFunction, NumpyroDensity, SupportedDensity


class Target(eqx.Module):
    r"""A density known up to its constant, $\tilde p(x) = Z\,p(x)$, over parameters with their supports.

    What is sampled is an unconstrained vector $u \in \mathbb R^d$. With the bijection $b$ onto the supports, and its
    Jacobian $J_b$,

    $$\log \tilde p(u) = \log \tilde p(b(u)) + \log |\det J_b(u)|,$$

    so that $Z$ is that of the parameters' own density, nothing lies outside a support, and the Jacobian is not the
    user's business. Where the user's function gives NaN or infinity, the density counts as 0 (the log-density is
    `-inf`); `infer` reports how often that was.

    Args:
        log_density: The function $\log \tilde p$ in nats, in JAX, of one event: of a vector, or of a tree of arrays; or
            an `AbstractDensity`, which has its parameters in itself.
        parameters: The length of the vector; or its support, such as `Product([Real(2), HalfLine()])`; or a dict (or
            other tree) of supports, and the function takes a tree of arrays of the same form. There the parameter of a
            support of one number is a scalar. The unconstrained vector has the parameters in the tree's order, which
            for a dict is that of the sorted names.

    Attributes:
        dim: Length of the unconstrained vector.
        names: Names of its numbers.

    Raises:
        TypeError: The log-density is no function, or the parameters are neither a number nor supports.
        ValueError: A support is a torus or a sphere, which no bijection from the real numbers reaches; or the
            log-density of one event is not one number.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> from pushforward.bijections import HalfLine, Real
        >>> def log_density(p):
        ...     return -0.5 * jnp.sum(p["mu"] ** 2) - p["tau"]
        >>> target = pf.Target(log_density, {"mu": Real(2), "tau": HalfLine()})
        >>> target.dim, target.names, float(target(jnp.zeros(3)))
        (3, ('mu[0]', 'mu[1]', 'tau'), -1.0)
        >>> target.constrain(jnp.zeros(3))["tau"].tolist()
        1.0
    """

    density: AbstractDensity

    def __init__(self, log_density: Callable[..., Any] | AbstractDensity, parameters: Any = None):
        if isinstance(log_density, AbstractDensity):
            self.density = log_density
        else:
            if not callable(log_density):
                fix = "Pass a JAX function of one event to a number."
                raise TypeError(message("Target", "a function log_density", type(log_density).__name__, fix))
            sized = isinstance(parameters, int | np.integer) and not isinstance(parameters, bool)
            supports = Real(check_int("Target", "parameters", parameters, 1)) if sized else parameters
            self.density = SupportedDensity(log_density, supports)
        # The function is traced once, without being computed, so that its mistakes are told here.
        jax.eval_shape(self.density.log_density, jax.ShapeDtypeStruct((self.dim,), jnp.result_type(float)))

    @classmethod
    def from_numpyro(cls, model: Callable[..., Any], *args: Any, **kwargs: Any) -> Target:
        """The posterior of a NumPyro model given its arguments, up to the marginal likelihood $Z$ of its data.

        The parameters are a dict of the latent and the deterministic sites.

        Args:
            model: A NumPyro model, without discrete latent sites.
            args: Its arguments.
            kwargs: Its keyword arguments.

        Raises:
            ImportError: NumPyro is not installed; it comes with the extra `numpyro`.
            ValueError: A latent site is discrete, or the model has none.

        Example:
            >>> import jax.numpy as jnp, numpyro, numpyro.distributions as dist, pushforward as pf
            >>> def model(y):
            ...     tau = numpyro.sample("tau", dist.HalfNormal(1.0))
            ...     numpyro.sample("y", dist.Normal(0.0, tau), obs=y)
            >>> pf.Target.from_numpyro(model, jnp.ones(5)).names
            ('tau',)
        """
        return cls(NumpyroDensity(model, args, kwargs))

    @classmethod
    def from_function(
        cls,
        value_and_gradient: Callable[[np.ndarray], tuple[Any, Any]],
        dim: int | AbstractSupport,
        *,
        batched: bool = False,
    ) -> Target:
        """A density outside JAX: NumPy, Stan through BridgeStan, a simulator's likelihood.

        The function is called back from compiled programs, and its gradient is the user's. It must be pure; it is
        called with many rows at once if `batched`, else once for each.

        Args:
            value_and_gradient: Function of a NumPy vector `(dim,)` in float64 to the log-density in nats and its
                gradient `(dim,)`; with `batched` of rows `(n, dim)` to `(n,)` and `(n, dim)`.
            dim: Length of the vector, or its support.
            batched: Whether the function takes rows.

        Example:
            >>> import numpy as np, pushforward as pf
            >>> target = pf.Target.from_function(lambda x: (-0.5 * x @ x, -x), 3)
            >>> float(target(np.ones(3)))
            -1.5
        """
        if not callable(value_and_gradient):
            fix = "Pass a function of a NumPy vector to a value and a gradient."
            raise TypeError(message("Target.from_function", "a function", type(value_and_gradient).__name__, fix))
        return cls(HostFunction(value_and_gradient, bool(batched)), dim)

    @property
    def dim(self) -> int:
        """Length of the unconstrained vector."""
        return self.density.dim

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the numbers of the unconstrained vector, such as `theta[0]`."""
        return self.density.names

    def __call__(self, u: Any) -> Array:
        """The log-density of one unconstrained vector, in nats, `-inf` where the user's function is not a number.

        Args:
            u: Vector `(dim,)`.
        """
        return self.value_and_fault(u)[0]

    def value_and_fault(self, u: Any) -> tuple[Array, Array]:
        """The log-density of one vector, and whether the user's function gave NaN or infinity there.

        Args:
            u: Vector `(dim,)`.
        """
        u = as_floats(u)
        if u.shape != (self.dim,):
            fix = "Pass one vector; rows go to Target.rows."
            raise ValueError(message("Target", f"a vector of {self.dim} numbers", f"shape {u.shape}", fix))
        value = self.density.log_density(u)
        fault = ~(value < jnp.inf)
        return jnp.where(fault, -jnp.inf, value), fault

    def rows(self, u: Any) -> Array:
        """The log-densities `(n,)` of unconstrained vectors `(n, dim)`."""
        return jax.vmap(self)(as_floats(u))

    def constrain(self, u: Any) -> Any:
        """The parameters of one unconstrained vector `(dim,)`, in the form that the user's function takes."""
        return self.density.constrain(as_floats(u))

    def unconstrain(self, parameters: Any) -> Array:
        """The unconstrained vector `(dim,)` of the parameters of one event."""
        return self.density.unconstrain(parameters)
