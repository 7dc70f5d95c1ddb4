"""Seeds from what scikit-learn's users pass as `random_state`: an integer, either generator of NumPy, or None."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

WORDS = 2**32


def seed_words(random_state: Any, shape: int | tuple[int, ...]) -> np.ndarray:
    """Random words of 32 bits; a generator moves on by as many, and an integer gives the same words each time.

    Args:
        random_state: An integer from 0 to 2**32 - 1, a `numpy.random.RandomState`, a `numpy.random.Generator`, or None
            for NumPy's global state.
        shape: Shape of the words.

    Raises:
        ValueError: It is none of these, or the integer is out of bounds.

    Example:
        >>> import numpy as np
        >>> from pushforward.tables.estimators.seeds import seed_words
        >>> seed_words(0, 2), seed_words(np.random.default_rng(0), 2).dtype
        (array([2357136044, 2546248239], dtype=uint32), dtype('uint32'))
    """
    if isinstance(random_state, np.random.Generator):
        return random_state.integers(0, WORDS, size=shape, dtype=np.uint32)
    return check_random_state(random_state).randint(0, WORDS, size=shape, dtype=np.uint32)


def seed_number(random_state: Any) -> int:
    """One seed from 0 to 2**32 - 1: an integer is its own seed.

    Args:
        random_state: As for `seed_words`.

    Raises:
        ValueError: It is none of these, or the integer is out of bounds.
    """
    if isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool | np.bool_):
        check_random_state(random_state)  # the bounds
        return int(random_state)
    return int(seed_words(random_state, 1)[0])
