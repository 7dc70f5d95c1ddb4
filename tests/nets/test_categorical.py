"""`CategoricalMADE`: which states reach which logits."""

# Pyright takes the fields of a subclass without a constructor for that of a dataclass.
# pyright: reportCallIssue=false

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.nets.categorical_made import CategoricalMADE

SIZES = (2, 4, 3)
BLOCKS = [np.arange(0, 2), np.arange(2, 6), np.arange(6, 9)]
X = np.random.default_rng(1).uniform(size=(9, 4))
KEY = jax.random.key(5)


def noisy(net: CategoricalMADE) -> CategoricalMADE:
    leaves, structure = jax.tree.flatten(net)
    rng = np.random.default_rng(0)
    return jax.tree.unflatten(structure, [jnp.asarray(leaf + rng.standard_normal(leaf.shape)) for leaf in leaves])


@jax.jit
def reached(net: CategoricalMADE, x: jax.Array, condition: jax.Array | None) -> tuple:
    """Whether each logit depends on each feature, and on each entry of the condition."""
    by_x = jax.jacfwd(lambda v: net(v, condition).sum(axis=1))(x).any(axis=2)
    if condition is None:
        return by_x, None
    return by_x, jax.jacfwd(lambda c: net(x, c).sum(axis=1))(condition).any(axis=2)


@pytest.mark.parametrize(("width", "depth", "cond_size"), [(8, 1, 0), (1, 2, 2)])
def test_every_variable_reaches_the_later_ones_and_no_earlier(width: int, depth: int, cond_size: int) -> None:
    net = noisy(CategoricalMADE(KEY, SIZES, width=width, depth=depth, cond_size=cond_size))
    condition = jnp.ones((cond_size, 4)) if cond_size else None
    jacobian, by_condition = reached(net, X, condition)
    blocks = np.array([[np.asarray(jacobian)[np.ix_(a, b)].any() for b in BLOCKS] for a in BLOCKS])
    np.testing.assert_array_equal(blocks, np.tril(np.ones((3, 3), bool), -1))
    assert by_condition is None or np.asarray(by_condition).all(), "every logit sees every entry of the condition"


def test_the_broken_twin_leaks() -> None:
    """A net whose last layer sees units of its own variable is found by the same Jacobian."""

    class Leaky(CategoricalMADE):
        def _masked(self) -> tuple:
            first, hidden, _ = super()._masked()
            return first, hidden, self.out_weight

    net = noisy(Leaky(KEY, SIZES, width=8, depth=1))
    assert np.asarray(reached(net, X, None)[0])[BLOCKS[0]].any()


def test_wrong_sizes() -> None:
    with pytest.raises(ValueError, match="size"):
        CategoricalMADE(KEY, (2, 1))
    with pytest.raises(ValueError, match="width"):
        CategoricalMADE(KEY, SIZES, width=0)
