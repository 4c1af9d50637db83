"""How the loops of this package are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(*, reorder_sums: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile a loop with Numba and keep the machine code on disk where that is possible.

    Division follows NumPy (no exception, so that it can be vectorised) and the loop runs without the interpreter's
    lock. Where no cache folder can be written the function is compiled anew in each process: slower to start, not an
    error.

    Parameters
    ----------
    reorder_sums : bool
        Let the compiler add in any order, so that sums along time can be vectorised. Multiplications and additions are
        always allowed to fuse.
    """
    fastmath = {"contract", "nsz", "reassoc"} if reorder_sums else {"contract", "nsz"}
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # Numba: no folder for the cache
            return njit(**options)(function)

    return decorate
