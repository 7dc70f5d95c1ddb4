"""Atoms: numbers that have a probability of their own; and numbers that look like codes for "missing"."""

from __future__ import annotations

import math

import numpy as np

from pushforward.tables.kinds.base import MAX_ATOMS
from pushforward.tables.kinds.steps import MOST_ROUNDING, ROUNDING, ROUNDING_OF_SINGLES

# A value is an atom if it takes this share of the rows and stands out from its neighbours by this factor; at 0 and at
# the ends of the range, where values are cut off, a smaller share is enough.
ATOM_SHARE, ATOM_SHARE_AT_ENDS, ATOM_FACTOR, ATOM_COUNT = 0.05, 0.002, 5.0, 10
NEIGHBOURS = 10
# Numbers that people write for "no answer": nines, and minus one among numbers from 0.
NINES = (-9.0, *(sign * (10.0**k - 1) for k in range(2, 7) for sign in (1, -1)), 9999.99, -99.9, -999.9)
MINUS = -1.0
# A code comes at least this often, and lies this far from all else, in widths of the middle nine tenths of the rows.
CODE_COUNT, CODE_SHARE, CODE_APART = 3, 0.002, 0.5


def find_atoms(distinct: np.ndarray, counts: np.ndarray) -> tuple[float, ...]:
    """Values that have a mass of their own: far more frequent than their neighbours."""
    n, atoms = counts.sum(), []
    most = min(4 * MAX_ATOMS, len(counts))
    common = np.flatnonzero(counts >= max(ATOM_COUNT, ATOM_SHARE_AT_ENDS * n))
    for i in common[np.argsort(-counts[common], kind="stable")][:most]:
        at_end = i in (0, len(distinct) - 1) or distinct[i] == 0
        share = ATOM_SHARE_AT_ENDS if at_end else ATOM_SHARE
        if counts[i] < max(ATOM_COUNT, share * n):
            continue
        around = [
            counts[j]
            for j in range(max(0, i - NEIGHBOURS // 2), min(len(counts), i + NEIGHBOURS // 2 + 1))
            if j != i and distinct[j] not in atoms
        ]
        typical = float(np.median(around)) if around else 0.0
        if counts[i] >= max(ATOM_COUNT, share * n, ATOM_FACTOR * typical):
            atoms.append(float(distinct[i]))
    if len(atoms) == len(distinct):
        return ()
    return tuple(atoms[: MAX_ATOMS - 2])  # the ends of the range may become two more


def is_atom(values: np.ndarray, atom: float, step: float | None) -> np.ndarray:
    """Which values are an atom, but for rounding."""
    if step is None:
        return values == atom
    close = min(ROUNDING * step + ROUNDING_OF_SINGLES * abs(atom), MOST_ROUNDING * step)
    return np.abs(values - atom) <= close


def find_codes(distinct: np.ndarray, counts: np.ndarray) -> list[tuple[float, int]]:
    """Numbers at an end of the range that look like codes for "missing", with how often each comes."""
    found: list[tuple[float, int]] = []
    n, first, last = counts.sum(), 0, len(distinct) - 1
    while first < last:
        end = next((i for i in (first, last) if distinct[i] in NINES or distinct[i] == MINUS), None)
        if end is None or counts[end] < max(CODE_COUNT, CODE_SHARE * n):
            return found
        first, last = (first + 1, last) if end == first else (first, last - 1)
        rest, own = distinct[first : last + 1], np.cumsum(counts[first : last + 1])
        low, high = (float(rest[np.searchsorted(own, share * own[-1])]) for share in (0.05, 0.95))
        gap = abs(float(distinct[end]) - float(rest[0] if end < first else rest[-1]))
        apart = gap > CODE_APART * (high - low) or (distinct[end] == MINUS and rest[0] >= 0 and len(rest) > 2)
        if not apart or not math.isfinite(gap):
            return found
        found.append((float(distinct[end]), int(counts[end])))
    return found
