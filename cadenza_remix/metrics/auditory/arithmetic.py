"""Logarithm and power of two in a form that compilers vectorise, for use inside compiled loops.

Numba keeps machine code by the file of the loop that uses these: after a change here, remove ``__pycache__``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.polynomial import Polynomial, chebyshev

from cadenza_remix.metrics.auditory.compiled import compiled


def _fit(function: Any, low: float, high: float, degree: int) -> tuple[float, ...]:
    """Return the coefficients, lowest power first, of a near-minimax polynomial (Chebyshev interpolation)."""
    nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    middle, half = (high + low) / 2, (high - low) / 2
    in_unit = chebyshev.cheb2poly(chebyshev.chebfit(nodes, function(middle + half * nodes), degree))
    polynomial: Any = Polynomial(in_unit)(Polynomial([-middle / half, 1 / half]))
    return tuple(float(value) for value in polynomial.coef)


_ROOT_HALF = math.sqrt(0.5)
_ROOT_HALF_BITS = int(np.float64(_ROOT_HALF).view(np.int64))
_G0, _G1, _G2, _G3, _G4, _G5, _G6, _G7, _G8, _G9, _G10, _G11 = _fit(
    lambda x: np.log2(1.0 + x) / x, _ROOT_HALF - 1.0, 2 * _ROOT_HALF - 1.0, 11
)
_E0, _E1, _E2, _E3, _E4, _E5, _E6, _E7 = _fit(np.exp2, -0.5, 0.5, 7)
_ROUND = 1.5 * 2.0**52
_ROUND_BITS = int(np.float64(_ROUND).view(np.int64))


@intrinsic
def _bits_of(typing_context: Any, value: Any) -> Any:
    """The 64 bits of a float64 as an integer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def _float_of(typing_context: Any, value: Any) -> Any:
    """The float64 that has these 64 bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@compiled()
def log2(value: float) -> float:
    """Logarithm of a positive normal number; error below 1e-10."""
    bits = _bits_of(value)
    exponent = (bits - _ROOT_HALF_BITS) >> 52
    x = _float_of(bits - (exponent << 52)) - 1.0
    high = ((((_G11 * x + _G10) * x + _G9) * x + _G8) * x + _G7) * x + _G6
    series = (((((high * x + _G5) * x + _G4) * x + _G3) * x + _G2) * x + _G1) * x + _G0
    return series * x + (_float_of(exponent + _ROUND_BITS) - _ROUND)


@compiled()
def exp2(value: float) -> float:
    """Two to a power whose result is a normal number; relative error below 1e-10."""
    shifted = value + _ROUND
    x = value - (shifted - _ROUND)
    series = ((((((_E7 * x + _E6) * x + _E5) * x + _E4) * x + _E3) * x + _E2) * x + _E1) * x + _E0
    return _float_of(_bits_of(series) + (_bits_of(shifted) << 52))
