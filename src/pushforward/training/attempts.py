"""Rows that spoil a step: they are found by attempts, and left out of it.

A row far from all others can overflow, and its NaN is the whole batch's gradient. An attempt that gives no finite
gradient is followed by another, at the same weights and with the same key, that leaves rows out: first those whose own
loss is not finite; if the gradient still is not, the first bad row is found by halving, and so is the next. Attempts
are passes of the one loop over steps, so that there is no second copy of the gradient to compile, and an ordinary step
pays nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp

from pushforward._types import Array
from pushforward.training.state import Packed

# Attempts at one step: enough for three rows of 256 whose losses are finite and whose gradients are not. A batch with
# more of them is skipped.
MAX_ATTEMPTS = 32


class Search(NamedTuple):
    """The state of the search for bad rows, as places in the batch.

    Attributes:
        tries: Number of attempts before this one.
        low: The rows before this place are known to be good, except those left out.
        high: The rows before this place are known to hold a bad one, during a search.
        probe: The rows before this place take part; without a search, all rows do.
    """

    tries: Any
    low: Any
    high: Any
    probe: Any


class Attempt(eqx.Module):
    """One attempt at a step.

    Attributes:
        out: Flags `(size,)` of the rows that are left out.
        search: State of the search for other bad rows.
    """

    out: Array
    search: Packed[Search]

    @staticmethod
    def first(size: int) -> Attempt:
        """The attempt with all rows."""
        return Attempt(jnp.zeros(size, bool), Packed.of(Search(0, 0, size, size), jnp.int32))

    def choose(self, rows: Array, counts: Array) -> tuple[Array, Array]:
        """The rows that this attempt takes, and which of them count.

        After a failure, one that takes part stands in for every row that does not: a weight of 0 would not keep the NaN
        of a row out of the gradient.

        Args:
            rows: Places of the batch's rows in the table.
            counts: Flags of the rows that are no filling.
        """
        search = self.search.named
        active = counts & ~self.out & (jnp.arange(rows.shape[0]) < search.probe)
        again = (search.tries > 0) & ~active
        return jnp.where(again, rows[jnp.argmax(active)], rows), active

    def after(self, counts: Array, losses: Array, ok: Array) -> tuple[Attempt, Array, Array]:
        """The next attempt, whether this one made the step, and whether the step is over, made or not.

        Args:
            counts: Flags of the rows that are no filling.
            losses: The loss of each row.
            ok: Whether the loss and the gradient of this attempt are finite.
        """
        size, at = self.out.shape[0], self.search.named
        whole = at.probe == size
        ok = ok | ~jnp.any(counts & ~self.out & (jnp.arange(size) < at.probe))  # without rows nothing is bad
        made = whole & ok
        wild = whole & counts & ~self.out & ~jnp.isfinite(losses)
        # The second attempt is made in any case: a row that only fills the batch may have spoilt the first.
        searching = ~whole | ((at.tries > 0) & ~jnp.any(wild))
        low = jnp.where(~whole & ok, at.probe, at.low)
        high = jnp.where(whole, size, jnp.where(ok, at.high, at.probe))
        found = searching & (high - low <= 1)
        out = self.out | wild | (found & (jnp.arange(size) == low))
        probe = jnp.where(searching & ~found, (low + high) // 2, size)
        over = made | (at.tries + 1 >= MAX_ATTEMPTS) | ~jnp.any(counts & ~out)
        following = Search(
            jnp.where(over, 0, at.tries + 1), jnp.where(over, 0, low), high, jnp.where(over, size, probe)
        )
        return Attempt(out & ~over, Packed.of(following, jnp.int32)), made, over
