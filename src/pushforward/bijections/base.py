"""The contract: a bijection is an immutable map between events of fixed shape, with its log-determinant."""

import functools
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
from jax.sharding import PartitionSpec

from pushforward._checks import check_condition, check_event, check_key
from pushforward._meshes import automatic, explicit_axes
from pushforward._parts import AbstractWhole, Part
from pushforward._types import Array, PRNGKeyArray, Shape, Traits


def _checked(pair: Callable[..., Any], what: str, shape: str) -> Callable[..., Any]:
    """Wrap a method of a pair so that it first checks its event, its condition and its key.

    Without the check, broadcasting would take a batch for an event and add up the log-determinants of its rows.
    """

    @functools.wraps(pair)
    def method(self: Any, value: Array, condition: Array | None = None, *, key: PRNGKeyArray | None = None) -> Any:
        name = type(self).__name__
        check_event(name, value, getattr(self, shape), what)
        check_condition(name, condition, self.cond_shape)
        check_key(name, key, self.traits.needs_key)
        if explicit_axes():
            return automatic(lambda *own: pair(*own[:3], key=own[3]), PartitionSpec(), self, value, condition, key)
        return pair(self, value, condition, key=key)

    return method


class AbstractBijection(Part):
    r"""An invertible, almost everywhere differentiable map $f: x \mapsto y$ of one event, never of a batch.

    Value and log-determinant are one computation, in both directions. `condition` and `key` are in every signature,
    also where they are ignored. A bijection knows only `x` and `y`; the flow fixes `data = forward(latent)` once.

    To write a bijection, subclass this class, declare the two shapes, implement the two pairs for **one event**, and
    test the class with `pushforward.testing.check_bijection`. Where speed matters, subclass `AbstractBatchedBijection`
    instead; for a bijection made of others, subclass `AbstractComposite`.

    Attributes:
        in_shape: Event shape of `x`.
        out_shape: Event shape of `y`, with the same number of elements.
        cond_shape: Shape of the condition. The default is None: the bijection is unconditional.
        traits: Cost of each direction and exactness of the log-determinant. The default is one exact pass each way.
    """

    in_shape: eqx.AbstractVar[Shape]
    out_shape: eqx.AbstractVar[Shape]
    if TYPE_CHECKING:
        cond_shape: eqx.AbstractVar[Shape | None]
        traits: eqx.AbstractVar[Traits]
    else:
        # These are class attributes and not fields, so that a subclass may declare fields without defaults.
        cond_shape, traits = None, Traits()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Check the arguments of the two pairs, so that a subclass writes its formulas alone."""
        super().__init_subclass__(**kwargs)
        for name, what, shape in (("forward_and_log_det", "x", "in_shape"), ("inverse_and_log_det", "y", "out_shape")):
            pair = cls.__dict__.get(name)
            if pair is not None and not getattr(pair, "__isabstractmethod__", False):
                setattr(cls, name, _checked(pair, what, shape))

    @abstractmethod
    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        r"""$y = f(x)$ and $\log|\det \partial y/\partial x|$ in nats, a scalar.

        Args:
            x: one event of shape `in_shape`.
            condition: an array of shape `cond_shape`, ignored if that is None.
            key: needed iff `traits.needs_key`.

        Raises:
            ValueError: a shape does not fit, or a needed condition or key is missing.
            NotImplementedError: `traits.forward` is `"absent"`.
        """

    @abstractmethod
    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        r"""$x = f^{-1}(y)$ and $\log|\det \partial x/\partial y|$ in nats, a scalar.

        Args:
            y: one event of shape `out_shape`.
            condition: an array of shape `cond_shape`, ignored if that is None.
            key: needed iff `traits.needs_key`.

        Raises:
            ValueError: a shape does not fit, or a needed condition or key is missing.
            NotImplementedError: `traits.inverse` is `"absent"`.
        """

    def forward(self, x: Any, condition: Any = None, *, key: PRNGKeyArray | None = None) -> Array:
        """The value of `forward_and_log_det` alone; unused log-determinant work is removed by the compiler."""
        return self.forward_and_log_det(x, condition, key=key)[0]

    def inverse(self, y: Any, condition: Any = None, *, key: PRNGKeyArray | None = None) -> Array:
        """The value of `inverse_and_log_det` alone; unused log-determinant work is removed by the compiler."""
        return self.inverse_and_log_det(y, condition, key=key)[0]


class AbstractBatchedBijection(AbstractBijection):
    """A bijection written for a batch on the **last** axis, from which its methods for one event follow.

    Under `jax.vmap` most of JAX's batching rules (reshape, concatenate, broadcast, scan) move the batch to the front,
    and a spline layer then spends as long transposing its parameters as computing: 45 ms against 25 ms for a training
    step at D = 43. So the library's own bijections see `(*event, n)`, and mapping over events happens by hand.

    Final subclasses implement `forward_rows` and `inverse_rows`, which receive checked arguments.
    """

    @abstractmethod
    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        """Values `(*out_shape, n)` and log-determinants `(n,)` of the forward direction.

        Args:
            x: Array of shape `(*in_shape, n)`.
            condition: Conditions of the rows, `(*cond_shape, n)`; None if and only if the bijection is unconditional.
            keys: JAX keys, one per row, `(n,)`; None if and only if no key is needed.
        """

    @abstractmethod
    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        """Values `(*in_shape, n)` and log-determinants `(n,)` of the inverse; arguments as in `forward_rows`."""

    def forward_and_log_det(
        self, x: Any, condition: Any = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._one(check_event(type(self).__name__, x, self.in_shape), condition, key, True)

    def inverse_and_log_det(
        self, y: Any, condition: Any = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._one(check_event(type(self).__name__, y, self.out_shape, "y"), condition, key, False)

    def _one(self, value: Array, condition: Any, key: PRNGKeyArray | None, forward: bool) -> tuple[Array, Array]:
        name = type(self).__name__
        condition = check_condition(name, condition, self.cond_shape)
        check_key(name, key, self.traits.needs_key)
        keys = None if key is None else key[None]
        out, log_det = run_batch(
            self, value[..., None], None if condition is None else condition[..., None], keys, forward
        )
        return out[..., 0], log_det[0]


class AbstractTwoWayBijection(AbstractBatchedBijection):
    """A batched bijection whose two directions are the same lines of code, as in compositions and couplings.

    Final subclasses implement `run_rows`.
    """

    @abstractmethod
    def run_rows(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        """Values and log-determinants of one direction.

        The arguments are those of `forward_rows`, followed by whether to run forward.
        """

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return self.run_rows(x, condition, keys, True)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return self.run_rows(y, condition, keys, False)


class SolvedRows(NamedTuple):
    """The result of solving rows, with what the solve of each row took.

    Attributes:
        value: Events, rows on the last axis, `(*shape, n)`.
        log_det: Array of shape `(n,)`.
        n_evaluations: Number of evaluations of the function that the solver calls, `(n,)`.
        failed: Whether each row's solve failed to reach its end, `(n,)`; values of such rows are NaN.
    """

    value: Array
    log_det: Array
    n_evaluations: Array
    failed: Array


class AbstractSolvedBijection(AbstractBatchedBijection):
    """A bijection that calls a solver, and reports for each row the evaluations and whether the solve succeeded.

    Final subclasses implement `report`.
    """

    @abstractmethod
    def report(self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool) -> SolvedRows:
        """One direction of rows on the last axis, with evaluations and failures; arguments as in `run_batch`."""

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return self.report(x, condition, keys, True)[:2]

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return self.report(y, condition, keys, False)[:2]


# From a member, its rows, their conditions, their keys and the direction to values, log-determinants and anything else.
Step = Callable[[AbstractBijection, Array, Array | None, PRNGKeyArray | None, bool], tuple[Array, Array, Any]]


class Layout(NamedTuple):
    """How a composite holds its members.

    Attributes:
        in_turn: Whether the members run one after the other, each on the whole event that the one before gives. A
            summary then lists them in place of the composite.
        inverted: Whether the members run against the composite's direction.
        stacked: Number of layers that each member stands for, which is the length of the first axis of its arrays;
            None if each member is one layer.
    """

    in_turn: bool = False
    inverted: bool = False
    stacked: int | None = None


class AbstractComposite(AbstractTwoWayBijection, AbstractWhole):
    """A bijection made of others, its `members`, which it exposes and runs with any given step.

    Everything that looks into a model uses this interface: summaries, checks, the errors of solves, the start from
    data, and the change of a solver. So a composite states once which rows, which condition and which keys each member
    gets, in which order the members run, and how their results are joined.

    Final subclasses hold their members in fields, and implement `run_with` and `with_members`.
    `pushforward.testing.law_walk` tests them.
    """

    @property
    def layout(self) -> Layout:
        """How the members are held. By default they do not run in turn, and each is one layer."""
        return Layout()

    @abstractmethod
    def run_with(
        self, step: Step, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array, tuple[Any, ...]]:
        """Run one direction, with each member run by `step(member, rows, condition, keys, forward)`.

        Args:
            step: Function that returns what `run_batch` returns, and a tree of arrays as well.
            value: Events, rows on the last axis, `(*event, n)`.
            condition: Conditions of the rows, `(*cond, n)` or None.
            keys: JAX keys, one per row, `(n,)` or None.
            forward: Whether to map forward, or backwards.

        Returns:
            Values, log-determinants `(n,)`, and for each of `members`, in their order, the tree that the step returned.
            For a stacked member its arrays have a first axis over the layers. A member may be given more rows than
            there are events (such as pixels), in the order `(more, n)`: `reshape(-1, n)` of an array with one number
            per row therefore always has the events last.
        """

    def run_rows(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        return self.run_with(run_member, value, condition, keys, forward)[:2]


def run_member(
    member: AbstractBijection, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
) -> tuple[Array, Array, None]:
    """The step that runs a member and returns nothing more."""
    return *run_batch(member, value, condition, keys, forward), None


def needed(
    bijection: AbstractBijection, condition: Array | None, keys: PRNGKeyArray | None
) -> tuple[Array | None, PRNGKeyArray | None]:
    """The condition and the keys, each replaced by None if the bijection does not use it."""
    return None if bijection.cond_shape is None else condition, keys if bijection.traits.needs_key else None


def run_batch(
    bijection: AbstractBijection, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
) -> tuple[Array, Array]:
    """Run one direction of any bijection on rows on the last axis; one written for single events is mapped over them.

    Args:
        bijection: Any bijection.
        value: Events, rows on the last axis, `(*event, n)`.
        condition: Conditions of the rows, `(*cond, n)` or None; dropped if the bijection is unconditional.
        keys: JAX keys, one per row, `(n,)` or None; dropped if none is needed.
        forward: Whether to map forward, or backwards.
    """
    condition, keys = needed(bijection, condition, keys)
    if isinstance(bijection, AbstractBatchedBijection):
        return (
            bijection.forward_rows(value, condition, keys)
            if forward
            else bijection.inverse_rows(value, condition, keys)
        )
    run = bijection.forward_and_log_det if forward else bijection.inverse_and_log_det
    axes = (-1, None if condition is None else -1, None if keys is None else 0)
    return jax.vmap(lambda v, c, k: run(v, c, key=k), in_axes=axes, out_axes=-1)(value, condition, keys)


def fold_keys(keys: PRNGKeyArray | None, n: int | Array) -> PRNGKeyArray | None:
    """The keys `(n,)` of member number `n` of a composition."""
    return None if keys is None else jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, n)


def along(parameter: Array) -> Array:
    """A parameter of an event's shape with one more axis at its end, which broadcasts over the batch."""
    return parameter[..., None]
