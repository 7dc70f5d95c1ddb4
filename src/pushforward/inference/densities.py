"""Where the log-density of a target comes from: a JAX function with supports, a NumPyro model, a function of NumPy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_floats, message, package_of
from pushforward._types import Array
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.supports import AbstractSupport, Product, Real, biject_to


class AbstractDensity(eqx.Module):
    """A log-density over vectors of `dim` unconstrained numbers, and the parameters that such a vector stands for."""

    dim: eqx.AbstractVar[int]
    names: eqx.AbstractVar[tuple[str, ...]]

    @abstractmethod
    def log_density(self, u: Array) -> Array:
        """The log-density of one vector `(dim,)`, the log-Jacobian of the supports included, in nats."""

    @abstractmethod
    def constrain(self, u: Array) -> Any:
        """The parameters of one vector `(dim,)`."""

    @abstractmethod
    def unconstrain(self, parameters: Any) -> Array:
        """The vector `(dim,)` of parameters."""


class Plain(eqx.Module):
    """A function without arrays of its own: two of them are the same part of a program if they are the same object."""

    function: Callable[..., Any] = eqx.field(static=True)

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


def as_module(function: Any) -> Any:
    """A callable that is a tree of arrays alone: modules are taken as they are, functions are wrapped in `Plain`."""
    return function if isinstance(function, eqx.Module) else Plain(function)


class SupportedDensity(AbstractDensity):
    """A function of a vector, or of a tree of parameters with their supports.

    Args:
        log_density: The function.
        supports: A support, whose parameters are one vector, or a tree (dict) of supports. The parameter of a support
            of one number in a tree is a scalar.
    """

    function: Callable[..., Any]
    bijection: AbstractBijection
    supports: tuple[AbstractSupport, ...] = eqx.field(static=True)
    tree: Any = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    names: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, log_density: Callable[..., Any], supports: Any):
        parts, tree = jax.tree.flatten(supports, is_leaf=_is_support)
        fix = "Pass the length of a vector, or a dict such as {'mu': Real(8), 'tau': HalfLine()}."
        for part in parts:
            if not _is_support(part):
                raise TypeError(message("Target", "an integer, or supports", f"{type(part).__name__} {part!r}", fix))
            if part.source != Real(part.dim):
                fix = "Give an angle an Interval(-pi, pi), or write the density in other coordinates."
                expected = "supports that a bijection from the real numbers reaches"
                raise ValueError(message("Target", expected, type(part).__name__, fix))
        if not parts:
            raise ValueError(message("Target", "one parameter or more", "none", fix))
        whole = Product(parts)
        self.function, self.supports, self.dim = as_module(log_density), tuple(parts), whole.dim
        self.tree = None if _is_support(supports) else tree
        self.bijection = biject_to(whole)
        self.names = _names(supports)

    def log_density(self, u: Array) -> Array:
        x, log_det = self.bijection.forward_and_log_det(u)
        return scalar(self.function(self._parameters(x))) + log_det

    def constrain(self, u: Array) -> Any:
        return self._parameters(self.bijection.forward(u))

    def unconstrain(self, parameters: Any) -> Array:
        if self.tree is None:
            x = as_floats(parameters)
        else:
            leaves, tree = jax.tree.flatten(parameters)
            if tree != self.tree:
                fix = "Pass the tree that the log-density takes."
                raise ValueError(message("Target.unconstrain", f"parameters {self.tree}", str(tree), fix))
            x = jnp.concatenate([jnp.reshape(as_floats(leaf), -1) for leaf in leaves])
        if x.shape != (self.dim,):
            fix = "Pass the parameters of one event; map over a batch with jax.vmap."
            raise ValueError(message("Target.unconstrain", f"{self.dim} numbers", f"shape {x.shape}", fix))
        return self.bijection.inverse(x)

    def _parameters(self, x: Array) -> Any:
        if self.tree is None:
            return x
        ends = np.cumsum([part.dim for part in self.supports])
        pieces = [x[end - part.dim : end] for part, end in zip(self.supports, ends, strict=True)]
        return jax.tree.unflatten(self.tree, [piece[0] if piece.size == 1 else piece for piece in pieces])


class NumpyroDensity(AbstractDensity):
    """A NumPyro model given its arguments: its potential, its transforms, and its deterministic sites.

    Args:
        model: The model, a function.
        args: Its arguments, such as the data.
        kwargs: Its keyword arguments.
    """

    potential: Callable[..., Any] = eqx.field(static=True)
    postprocess: Callable[..., Any] = eqx.field(static=True)
    invert: Callable[..., Any] = eqx.field(static=True)
    unravel: Callable[..., Any] = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    names: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, model: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]):
        package_of("Target.from_numpyro", "numpyro", "numpyro")
        from jax.flatten_util import ravel_pytree
        from numpyro import handlers
        from numpyro.infer import util

        key = jax.random.key(0)
        seen = handlers.trace(handlers.seed(model, key)).get_trace(*args, **kwargs)
        latent = [site for site in seen.values() if site["type"] == "sample" and not site["is_observed"]]
        discrete = [site["name"] for site in latent if site["fn"].is_discrete]
        if discrete:
            fix = "Sum it out in the model; a flow is over continuous parameters."
            raise ValueError(message("Target.from_numpyro", "continuous latent sites", f"{discrete}", fix))
        if not latent:
            fix = "Declare it with numpyro.sample, without obs=."
            raise ValueError(message("Target.from_numpyro", "a model with a latent site", "none", fix))
        made = util.initialize_model(
            key, model, model_args=args, model_kwargs=kwargs, init_strategy=util.init_to_uniform
        )
        start = made.param_info.z
        vector, self.unravel = ravel_pytree(start)
        self.potential, self.postprocess = made.potential_fn, made.postprocess_fn
        self.invert = lambda parameters: util.unconstrain_fn(model, args, kwargs, parameters)
        self.dim, self.names = int(vector.size), tuple(_leaf_names(start))

    def log_density(self, u: Array) -> Array:
        return -scalar(self.potential(self._tree(u)))

    def constrain(self, u: Array) -> Any:
        return self.postprocess(self._tree(u))

    def unconstrain(self, parameters: Any) -> Array:
        from jax.flatten_util import ravel_pytree

        return as_floats(ravel_pytree(self.invert(parameters))[0])

    def _tree(self, u: Array) -> Any:
        # The shapes were seen in one floating type; a vector may come in the other.
        like = jax.eval_shape(self.unravel, jax.ShapeDtypeStruct((self.dim,), jnp.result_type(float)))
        leaves, tree = jax.tree.flatten(like)
        ends = np.cumsum([leaf.size for leaf in leaves])
        return jax.tree.unflatten(
            tree, [u[end - leaf.size : end].reshape(leaf.shape) for leaf, end in zip(leaves, ends, strict=True)]
        )


class HostFunction(eqx.Module):
    """A log-density outside JAX with its gradient, called back from compiled programs; forward mode has no rule.

    Args:
        function: The function from NumPy arrays to a value and a gradient.
        batched: Whether it takes rows `(n, dim)` to `(n,)` and `(n, dim)`, instead of one vector.
    """

    function: Callable[[np.ndarray], tuple[Any, Any]] = eqx.field(static=True)
    batched: bool = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        return _host_value(self, x)

    def value_and_gradient(self, x: Array) -> tuple[Array, Array]:
        """The value and the gradient of one vector, by one call of the function; rows of a `vmap` go in one call."""
        dtype = x.dtype

        def run(points: Any) -> tuple[np.ndarray, np.ndarray]:
            points = np.asarray(points, np.float64)
            rows = points.reshape(-1, points.shape[-1])
            if self.batched:
                values, gradients = self.function(rows)
            else:
                pairs = [self.function(row) for row in rows]
                values, gradients = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            value, gradient = np.asarray(values, dtype), np.asarray(gradients, dtype)
            if value.size != len(rows) or gradient.size != rows.size:
                expected = f"a value and a gradient of {rows.shape[-1]} numbers for each of {len(rows)} vectors"
                fix = "Return both; with batched=True, of all rows."
                got = f"shapes {value.shape} and {gradient.shape}"
                raise ValueError(message("Target.from_function", expected, got, fix))
            return value.reshape(points.shape[:-1]), gradient.reshape(points.shape)

        shapes = jax.ShapeDtypeStruct((), dtype), jax.ShapeDtypeStruct(x.shape, dtype)
        return jax.pure_callback(run, shapes, x, vmap_method="broadcast_all")


@jax.custom_vjp
def _host_value(host: HostFunction, x: Array) -> Array:
    return host.value_and_gradient(x)[0]


def _host_forward(host: HostFunction, x: Array) -> tuple[Array, tuple[HostFunction, Array]]:
    value, gradient = host.value_and_gradient(x)
    return value, (host, gradient)


def _host_backward(kept: tuple[HostFunction, Array], cotangent: Array) -> tuple[HostFunction, Array]:
    host, gradient = kept
    return host, cotangent * gradient


_host_value.defvjp(_host_forward, _host_backward)


def scalar(value: Any) -> Array:
    """A log-density as a scalar; an array of one number counts as one.

    Raises:
        ValueError: The function does not give one number for an event.
    """
    value = jnp.asarray(value)
    if value.size != 1:
        fix = "Sum the terms: the log-density takes one event and returns one number."
        raise ValueError(message("Target", "a log-density that is one number", f"shape {value.shape}", fix))
    return as_floats(value).reshape(())


def _is_support(node: Any) -> bool:
    return isinstance(node, AbstractSupport)


def _names(supports: Any) -> tuple[str, ...]:
    """The names of the unconstrained numbers, such as `theta[0]`."""
    if _is_support(supports):
        return tuple(f"x[{n}]" for n in range(supports.dim))
    sizes = jax.tree.map(lambda part: np.zeros(() if part.dim == 1 else part.dim), supports, is_leaf=_is_support)
    return tuple(_leaf_names(sizes))


def _leaf_names(tree: Any) -> list[str]:
    """The name of each number of a tree of arrays, in order: the path of its leaf and its place in the leaf."""
    names = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        places = [""] if np.ndim(leaf) == 0 else [f"[{','.join(map(str, at))}]" for at in np.ndindex(np.shape(leaf))]
        names += [name + place for place in places]
    return names
