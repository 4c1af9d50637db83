"""One process at a time in a folder: two trainings in one would overwrite each other's checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cadenza_remix.atomic import machine_token
from cadenza_remix.errors import InputError
from cadenza_remix.runs.shards.claims import BEAT_S, STALE_S, Claim, Owner, read_claim

IN_USE = "in_use.json"
"""Says who works in a folder while somebody does."""


@contextmanager
def own_folder(
    folder: Path,
    *,
    tell: Callable[[str], object] = lambda _: None,
    beat_s: float = BEAT_S,
    stale_s: float = STALE_S,
) -> Iterator[Claim]:
    """Have a folder for this process alone while the block runs.

    What a process of this machine left that is no more (killed, power cut) is taken over at once. What another machine
    left, or this one before its last start, is watched: where it does not change for ``stale_s``, nobody is there.

    Parameters
    ----------
    folder : Path
        There already.
    tell : callable, optional
        Gets a line when something has to be waited for.
    beat_s, stale_s : float
        See `cadenza_remix.runs.shards.claims`.

    Yields
    ------
    Claim
        ``lost`` becomes true when another process took the folder over, because this one had stood still too long.

    Raises
    ------
    InputError
        Another process works there.
    OutputError
        The folder cannot be written.
    """
    path = folder / IN_USE
    first = read_claim(path)
    others: list[Owner] = []

    def is_refused() -> bool:
        owner = read_claim(path)
        if owner is not None and not owner.is_gone and (owner.machine == machine_token() or owner != first):
            others.append(owner)
        return bool(others)

    if first is not None and first.machine != machine_token():
        tell(f"{folder}: {first} worked there last; looking for {stale_s:.0f} s whether it still does")
    claim = Claim.take(path, beat_s=beat_s, stale_s=stale_s, should_stop=is_refused)
    if claim is None:
        raise InputError(
            f"{others[-1]} works in this folder",
            where=folder,
            expected=f"its end, or another --out (if it has nothing to do with this: remove {path})",
        )
    with claim:
        yield claim
