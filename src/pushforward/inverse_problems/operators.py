"""What was observed of an event: forward operators with their shapes, adjoints and matrices."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_floats, check_event, check_int, check_shape, check_values, message
from pushforward._module import Module
from pushforward._types import Array, Fixed, Shape

Boundary = Literal["zero", "wrap", "reflect", "edge"]


def constant(numbers: Any) -> Fixed:
    """Numbers of a problem as they are, NumPy's float64 among them, which no optimiser touches."""
    return Fixed(numbers)


class AbstractOperator(Module):
    r"""A forward operator $A$: what an observation without noise is of an event, $A(x)$.

    Attributes:
        in_shape: Shape of an event.
        out_shape: Shape of an observation.
        linear: Whether $A$ is linear, so that it has a matrix and an adjoint.
    """

    in_shape: eqx.AbstractVar[Shape]
    out_shape: eqx.AbstractVar[Shape]
    linear: eqx.AbstractVar[bool]

    @abstractmethod
    def apply(self, x: Array) -> Array:
        """The observation `out_shape` of one event `in_shape`, which is not checked."""

    def __call__(self, x: Any) -> Array:
        """The observation without noise of one event.

        Args:
            x: Event of shape `in_shape`.

        Raises:
            ValueError: The event has another shape.
        """
        return self.apply(check_event(type(self).__name__, x, self.in_shape))

    def adjoint(self, y: Any) -> Array:
        r"""The adjoint $A^T y$ of a linear operator, an array of shape `in_shape`.

        Args:
            y: Array of shape `out_shape`.

        Raises:
            TypeError: The operator is not linear.
            ValueError: The array has another shape.
        """
        name = f"{type(self).__name__}.adjoint"
        _check_linear(name, self)
        y = check_event(name, y, self.out_shape, "y")
        return jax.vjp(self.apply, jnp.zeros(self.in_shape, y.dtype))[1](y)[0]

    def matrix(self) -> Array:
        r"""The matrix $A$ of a linear operator over flattened events, `(n_out, n_in)`.

        Cost: one application of the operator for each number of an event.

        Raises:
            TypeError: The operator is not linear.
        """
        _check_linear(f"{type(self).__name__}.matrix", self)
        n = math.prod(self.in_shape)
        columns = jax.vmap(lambda unit: self.apply(unit.reshape(self.in_shape)).reshape(-1))(jnp.eye(n))
        return columns.T


def _check_linear(name: str, operator: AbstractOperator) -> None:
    if not operator.linear:
        fix = "A differentiable function has a Jacobian: jax.jacobian(operator)(x)."
        raise TypeError(message(name, "a linear operator", type(operator).__name__, fix))


class Mask(AbstractOperator):
    r"""Some of the numbers of an event, and nothing of the others (inpainting): $y = x[m]$.

    Args:
        observed: Array of booleans of the event's shape: which numbers are observed.

    Raises:
        ValueError: It is not an array of booleans, or none is observed.

    Example:
        >>> import numpy as np
        >>> from pushforward.inverse_problems import Mask
        >>> Mask(np.array([True, False, True]))(np.array([1.0, 2.0, 3.0])).tolist()
        [1.0, 3.0]
    """

    places: tuple[int, ...] = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    linear: bool = eqx.field(static=True)

    def __init__(self, observed: Any):
        flags = np.asarray(observed)
        if flags.dtype != bool or not flags.any():
            got = f"{flags.dtype} of shape {flags.shape}" if flags.dtype != bool else "none observed"
            fix = "Write it as ~np.isnan(x), for example."
            raise ValueError(message("Mask", "booleans of which one is true", got, fix))
        self.places = tuple(np.flatnonzero(flags).tolist())
        self.in_shape, self.out_shape, self.linear = flags.shape, (len(self.places),), True

    def apply(self, x: Array) -> Array:
        return x.reshape(-1)[np.array(self.places)]


class Blur(AbstractOperator):
    r"""A convolution along the last axis or the last two: $y_i = \sum_j k_j\, x_{i - j}$.

    Args:
        kernel: Weights, `(k,)` for signals or `(k, l)` for images, with odd lengths; the middle one weighs the number
            itself.
        shape: Event shape, such as `(n,)`, `(height, width)` or `(channels, height, width)`. Axes before those of the
            kernel are blurred one by one.
        boundary: What stands beyond the ends: `"zero"`, `"wrap"` (a period), `"reflect"` or `"edge"` (the last number).

    Raises:
        ValueError: The kernel has another number of axes, an even length, or weights that are not finite, or it is
            longer than the event.

    Example:
        >>> from pushforward.inverse_problems import Blur
        >>> Blur([0.25, 0.5, 0.25], (4,))([0.0, 4.0, 0.0, 0.0]).tolist()
        [1.0, 2.0, 1.0, 0.0]
    """

    kernel: Fixed
    boundary: Boundary = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    linear: bool = eqx.field(static=True)

    def __init__(self, kernel: Any, shape: Shape, boundary: Boundary = "zero"):
        weights = np.asarray(kernel, float)
        self.in_shape = self.out_shape = check_shape("Blur", shape)
        if weights.ndim not in (1, 2) or weights.ndim > len(self.in_shape) or any(n % 2 == 0 for n in weights.shape):
            fix = "Take one axis for signals and two for images, and pad a kernel of even length by a zero."
            expected = f"a kernel of odd lengths with at most {min(2, len(self.in_shape))} axes"
            raise ValueError(message("Blur", expected, f"shape {weights.shape}", fix))
        ends = self.in_shape[len(self.in_shape) - weights.ndim :]
        if any(k > n for k, n in zip(weights.shape, ends, strict=True)):
            fix = "Cut off weights that are nearly zero."
            raise ValueError(message("Blur", f"a kernel no longer than {ends}", f"shape {weights.shape}", fix))
        check_values("Blur", "finite weights", np.isfinite, "Look at the kernel.", weights)
        if boundary not in get_args(Boundary):
            expected = f"boundary one of {', '.join(get_args(Boundary))}"
            raise ValueError(message("Blur", expected, repr(boundary), "Choose one of them."))
        self.kernel, self.boundary, self.linear = constant(weights), boundary, True

    def apply(self, x: Array) -> Array:
        kernel = jnp.asarray(self.kernel.value, x.dtype)
        wide = [(k // 2, k // 2) for k in kernel.shape]
        mode: Any = "constant" if self.boundary == "zero" else self.boundary
        rows = x.reshape(-1, *x.shape[x.ndim - kernel.ndim :])
        blurred = jax.vmap(lambda row: jax.scipy.signal.convolve(jnp.pad(row, wide, mode=mode), kernel, mode="valid"))
        return blurred(rows).reshape(x.shape)


class Downsample(AbstractOperator):
    r"""Means over blocks of neighbours (super-resolution): along the last axis of signals, the last two of images.

    Args:
        factor: Length of a block, along each axis.
        shape: Event shape, such as `(n,)`, `(height, width)` or `(channels, height, width)`.

    Raises:
        ValueError: A length of the event is no multiple of the factor.

    Example:
        >>> from pushforward.inverse_problems import Downsample
        >>> Downsample(2, (4,))([1.0, 3.0, 5.0, 5.0]).tolist()
        [2.0, 5.0]
    """

    factor: int = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    linear: bool = eqx.field(static=True)

    def __init__(self, factor: int, shape: Shape):
        self.factor, self.in_shape = check_int("Downsample", "factor", factor, 1), check_shape("Downsample", shape)
        n_axes = min(2, len(self.in_shape))
        before, ends = self.in_shape[: len(self.in_shape) - n_axes], self.in_shape[len(self.in_shape) - n_axes :]
        if not ends or any(n % self.factor for n in ends):
            fix = "Pad or crop the events."
            raise ValueError(message("Downsample", f"lengths that {self.factor} divides", f"{self.in_shape}", fix))
        self.out_shape, self.linear = (*before, *(n // self.factor for n in ends)), True

    def apply(self, x: Array) -> Array:
        n_axes = min(2, x.ndim)
        before, ends = x.shape[: x.ndim - n_axes], self.out_shape[x.ndim - n_axes :]
        blocks = x.reshape(*before, *(n for end in ends for n in (end, self.factor)))
        return jnp.mean(blocks, axis=tuple(len(before) + 2 * i + 1 for i in range(n_axes)))


class Matrix(AbstractOperator):
    r"""A matrix over the flattened event, $y = M\,\operatorname{vec}(x)$.

    Args:
        matrix: Array `(n_out, n_in)`, finite.
        shape: Event shape with `n_in` numbers; None takes vectors `(n_in,)`.

    Raises:
        ValueError: The shapes do not fit, or an entry is not finite.

    Example:
        >>> from pushforward.inverse_problems import Matrix
        >>> Matrix([[1.0, 1.0, 0.0]])([1.0, 2.0, 3.0]).tolist()
        [3.0]
    """

    entries: Fixed
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    linear: bool = eqx.field(static=True)

    def __init__(self, matrix: Any, shape: Shape | None = None):
        entries = np.asarray(matrix, float)
        if entries.ndim != 2 or 0 in entries.shape:
            fix = "One row for each number of the observation."
            raise ValueError(message("Matrix", "a matrix (n_out, n_in)", f"shape {entries.shape}", fix))
        check_values("Matrix", "finite entries", np.isfinite, "Look at the matrix.", entries)
        self.in_shape = (entries.shape[1],) if shape is None else check_shape("Matrix", shape)
        if math.prod(self.in_shape) != entries.shape[1]:
            fix = "The matrix has one column for each number of an event; is it transposed?"
            expected = f"{math.prod(self.in_shape)} columns for events {self.in_shape}"
            raise ValueError(message("Matrix", expected, f"{entries.shape[1]}", fix))
        self.entries, self.out_shape, self.linear = constant(entries), (entries.shape[0],), True

    def apply(self, x: Array) -> Array:
        return jnp.matmul(jnp.asarray(self.entries.value, x.dtype), x.reshape(-1), precision="highest")


class Function(AbstractOperator):
    r"""Any function of one event that JAX can differentiate, such as a physical model.

    Args:
        function: The function, from an event to an array.
        shape: Event shape.

    Raises:
        TypeError: It is no function, or what it returns is no array of floating numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.inverse_problems import Function
        >>> Function(lambda x: jnp.exp(x).sum(keepdims=True), (3,)).out_shape
        (1,)
    """

    function: Callable[[Array], Array]
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    linear: bool = eqx.field(static=True)

    def __init__(self, function: Callable[[Array], Array], shape: Shape):
        if not callable(function):
            fix = "Pass a JAX function of one event."
            raise TypeError(message("Function", "a function", type(function).__name__, fix))
        self.function, self.in_shape = function, check_shape("Function", shape)
        out = jax.eval_shape(function, jax.ShapeDtypeStruct(self.in_shape, jnp.result_type(float)))
        if not hasattr(out, "shape") or not jnp.issubdtype(out.dtype, jnp.floating):
            got = f"{out.dtype}" if hasattr(out, "dtype") else type(out).__name__
            raise TypeError(message("Function", "a function that returns floating numbers", got, "Return one array."))
        self.out_shape, self.linear = tuple(out.shape), False

    def apply(self, x: Array) -> Array:
        return jnp.asarray(self.function(x))


class InTurn(AbstractOperator):
    """Operators one after another, such as a blur and then a mask.

    Args:
        operators: One operator or more, in the order in which they run.

    Raises:
        TypeError: One is no operator.
        ValueError: The shapes of neighbours do not fit, or there is none.

    Example:
        >>> import numpy as np
        >>> from pushforward.inverse_problems import Blur, InTurn, Mask
        >>> InTurn([Blur(np.ones(3) / 3, (5,)), Mask(np.arange(5) < 3)]).out_shape
        (3,)
    """

    operators: tuple[AbstractOperator, ...]
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    linear: bool = eqx.field(static=True)

    def __init__(self, operators: Sequence[AbstractOperator]):
        self.operators = tuple(operators)
        if not self.operators:
            raise ValueError(message("InTurn", "one operator or more", "none", "Give a list of operators."))
        for operator in self.operators:
            if not isinstance(operator, AbstractOperator):
                fix = "Wrap a function in Function(...)."
                raise TypeError(message("InTurn", "operators", type(operator).__name__, fix))
        for n, (first, second) in enumerate(zip(self.operators, self.operators[1:], strict=False)):
            if first.out_shape != second.in_shape:
                expected = f"operator {n + 1} to take {first.out_shape}, which operator {n} gives"
                raise ValueError(message("InTurn", expected, f"{second.in_shape}", "They run in the order given."))
        self.in_shape, self.out_shape = self.operators[0].in_shape, self.operators[-1].out_shape
        self.linear = all(operator.linear for operator in self.operators)

    def apply(self, x: Array) -> Array:
        for operator in self.operators:
            x = operator.apply(x)
        return x


def as_operator(name: str, operator: Any, shape: Shape) -> AbstractOperator:
    """The operator for events of a shape; a matrix or a function is wrapped.

    Raises:
        TypeError: It is none of these.
        ValueError: It takes other events.
    """
    if not isinstance(operator, AbstractOperator):
        if callable(operator):
            function: Any = operator
            operator = Function(function, shape)
        elif isinstance(operator, np.ndarray | jax.Array) and operator.ndim == 2:
            operator = Matrix(as_floats(operator), shape)
        else:
            fix = "Pass Mask(...), Blur(...), Downsample(...), Matrix(...) or a function of one event."
            raise TypeError(message(name, "an operator", type(operator).__name__, fix))
    if operator.in_shape != shape:
        fix = f"Build the operator for events of shape {shape}."
        raise ValueError(
            message(name, f"an operator on the prior's events {shape}", f"one on {operator.in_shape}", fix)
        )
    return operator
