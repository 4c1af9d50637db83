"""Logarithm and power of two in single precision, in a form that compilers vectorise, for use inside compiled loops.

Both are a polynomial and some work on the bits of the number. Numba keeps machine code by the file of the loop that
uses these: after a change here, remove ``__pycache__``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numpy.polynomial import Polynomial, chebyshev

from cadenza_remix.compiled import compiled


def _fit(function: Any, low: float, high: float, degree: int) -> tuple[np.float32, ...]:
    """Return the coefficients, lowest power first, of a near-minimax polynomial (Chebyshev interpolation)."""
    nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    middle, half = (high + low) / 2, (high - low) / 2
    in_unit = chebyshev.cheb2poly(chebyshev.chebfit(nodes, function(middle + half * nodes), degree))
    polynomial: Any = Polynomial(in_unit)(Polynomial([-middle / half, 1 / half]))
    return tuple(np.float32(value) for value in polynomial.coef)


_ROOT_HALF = math.sqrt(0.5)
_ROOT_HALF_BITS = int(np.float32(_ROOT_HALF).view(np.int32))
_MANTISSA_BITS = 23
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8, _L9 = _fit(
    lambda x: np.log2(1.0 + x) / x, _ROOT_HALF - 1.0, 2 * _ROOT_HALF - 1.0, 9
)
_E0, _E1, _E2, _E3, _E4, _E5, _E6 = _fit(np.exp2, -0.5, 0.5, 6)
_ONE = np.float32(1.0)
_ROUND = np.float32(1.5 * 2.0**_MANTISSA_BITS)


def _split(builder: Any, value: Any) -> tuple[Any, Any]:
    """Emit code for the exponent (an integer) and the mantissa (0.7 to 1.4) of a positive number."""
    word = ir.IntType(32)
    bits = builder.bitcast(value, word)
    exponent = builder.ashr(builder.sub(bits, word(_ROOT_HALF_BITS)), word(_MANTISSA_BITS))
    mantissa = builder.sub(bits, builder.shl(exponent, word(_MANTISSA_BITS)))
    return exponent, builder.bitcast(mantissa, ir.FloatType())


@intrinsic
def _exponent(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.sitofp(_split(builder, arguments[0])[0], ir.FloatType())

    return types.float32(types.float32), generate


@intrinsic
def _mantissa(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _split(builder, arguments[0])[1]

    return types.float32(types.float32), generate


@intrinsic
def _scaled(typing_context: Any, value: Any, shifted: Any) -> Any:
    """Multiply by two to the whole number that stands in the low bits of ``shifted``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        bits, power = (builder.bitcast(argument, word) for argument in arguments)
        return builder.bitcast(builder.add(bits, builder.shl(power, word(_MANTISSA_BITS))), ir.FloatType())

    return types.float32(types.float32, types.float32), generate


@compiled()
def log2(value):  # type: ignore[no-untyped-def]
    """Logarithm of a positive normal float32, right to about its last digit."""
    x = _mantissa(value) - _ONE  # type: ignore[call-arg]
    high = (((_L9 * x + _L8) * x + _L7) * x + _L6) * x + _L5
    series = ((((high * x + _L4) * x + _L3) * x + _L2) * x + _L1) * x + _L0
    return series * x + _exponent(value)


@compiled()
def exp2(value):  # type: ignore[no-untyped-def]
    """Two to a float32 power whose result is a normal number, right to about its last digit."""
    shifted = value + _ROUND
    x = value - (shifted - _ROUND)
    series = (((((_E6 * x + _E5) * x + _E4) * x + _E3) * x + _E2) * x + _E1) * x + _E0
    return _scaled(series, shifted)  # type: ignore[call-arg]
