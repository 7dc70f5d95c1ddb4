"""Linear layers: triangular, full, orthogonal, low rank, over pixels."""

from __future__ import annotations

import numpy as np

import pushforward as pf
from cases.case import Case, eye, full, triangle
from pushforward.bijections import (
    Cayley,
    Conv1x1,
    FullLinear,
    Householder,
    LowRankLinear,
    MatrixExponential,
    QRLinear,
    TriangularLinear,
)

CASES: dict[str, Case] = {
    "TriangularLinear": Case(lambda key: TriangularLinear(key, 3), reach=triangle(3)),
    "TriangularLinear, upper": Case(lambda key: TriangularLinear(key, 3, lower=False), reach=triangle(3).T),
    "FullLinear": Case(lambda key: FullLinear(key, 3), reach=full(3)),
    "Householder": Case(lambda key: Householder(key, 3), reach=full(3)),
    "Householder, few reflections": Case(lambda key: Householder(key, 5, 2), reach=full(5)),
    "Cayley": Case(lambda key: Cayley(key, 3), reach=full(3)),
    "MatrixExponential": Case(lambda key: MatrixExponential(key, 3), reach=full(3)),
    "QRLinear": Case(lambda key: QRLinear(key, 3), reach=full(3)),
    "LowRankLinear": Case(lambda key: LowRankLinear(key, 5, 2), reach=full(5)),
    "Conv1x1": Case(lambda key: Conv1x1(pf.LULinear(key, 2), (2, 1, 2)), reach=np.kron(full(2), eye(2))),
}
