"""The kinds of columns, in the order in which they claim one that is to be detected."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pushforward.tables.kinds.aside import Constant, Identifier
from pushforward.tables.kinds.base import AbstractKind
from pushforward.tables.kinds.circles import Circular
from pushforward.tables.kinds.levels import Boolean, Category, Ordinal
from pushforward.tables.kinds.moments import Datetime, Duration
from pushforward.tables.kinds.numbers import Bounded, Count, Integer, Positive, Real

# The first that claims a column has it: what says more stands before what says less.
_ORDER: tuple[AbstractKind, ...] = (
    *(Constant(), Boolean(), Datetime(), Duration(), Identifier(), Circular(), Category(), Ordinal()),
    *(Bounded(), Count(), Integer(), Positive(), Real()),
)
KINDS: Mapping[str, AbstractKind] = MappingProxyType({kind.name: kind for kind in _ORDER})
