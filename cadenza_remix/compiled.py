"""How the loops of this package are compiled."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

_FAULTS = (OSError, EOFError, pickle.UnpicklingError)


def compiled(*, reorder_sums: bool = False, inline: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile a loop with Numba and keep the machine code on disk where that is possible.

    Division follows NumPy (no exception, so that it can be vectorised) and the loop runs without the interpreter's
    lock. Where the cache folder cannot be written or read, be it from the start or later, the function is compiled
    anew in each process: slower to start, not an error.

    Parameters
    ----------
    reorder_sums : bool
        Let the compiler add in any order, so that sums along time can be vectorised. Multiplications and additions are
        always allowed to fuse.
    inline : bool
        Put the loop into each that calls it, whose rules for sums then hold. A loop that may reorder sums must be
        inline, or called from Python alone: of a function that others call, the compiler makes several copies, which
        may add in different orders, and which one runs depends on what was compiled now and what came from the disk.
    """
    fastmath = {"contract", "nsz", "reassoc"} if reorder_sums else {"contract", "nsz"}
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
    if inline:
        options["inline"] = "always"

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(**options)(function)
        with suppress(RuntimeError):  # Numba: no folder for the cache
            # What cache=True does, with a cache that may fail.
            dispatcher._cache = _OptionalCache(function)
        return dispatcher

    return decorate


class _OptionalCache(FunctionCache):
    """Numba's cache on disk, whose folder may be removed, fill up, or turn out to be damaged."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except _FAULTS:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(*_FAULTS):  # also those of reading: it reads the index before it writes
            super().save_overload(sig, data)
