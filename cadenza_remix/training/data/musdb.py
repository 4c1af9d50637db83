"""Which songs of MUSDB18 are the validation songs: on disk they lie among those to train on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cadenza_remix.challenge.metadata import load_songs

VALIDATION_SONGS = frozenset(
    (
        "ANiMAL - Rockshow",
        "Actions - One Minute Smile",
        "Alexander Ross - Goodbye Bolero",
        "Clara Berry And Wooldog - Waltz For My Victims",
        "Fergessen - Nos Palpitants",
        "James May - On The Line",
        "Johnny Lokke - Promises & Lies",
        "Leaf - Summerghost",
        "Meaxic - Take A Step",
        "Patrick Talbot - A Reason To Leave",
        "Skelpolu - Human Mistakes",
        "Traffic Experiment - Sirens",
        "Triviul - Angelsaint",
        "Young Griffo - Pennies",
    )
)
"""The 14 that the package ``musdb`` holds out, as most published systems do: taken where no list says otherwise."""


def cad1_split(root: Path) -> Callable[[str, str], str]:
    """Return the function (name of a song, its folder ``train`` or ``test``) -> split, as CAD1 has it.

    Song lists (``musdb18.valid.json``, ``musdb18.train.json``) are looked for in ``metadata/`` in the folder itself and
    in the two above it (CAD1 has ``audio/musdb18hq`` beside ``metadata``), and in the folder itself. With a list of
    validation songs, these are it; with a list of training songs alone, all others in ``train/``; without any, the 14
    of `VALIDATION_SONGS`. A song of both lists is a validation song: it must not be trained on.

    Raises
    ------
    InputError
        A song list cannot be read.
    """
    root = root.resolve()
    places = [root / "metadata", root.parent / "metadata", root.parent.parent / "metadata", root]
    valid = _names_in(places, "valid")
    train = _names_in(places, "train")

    def split_of(name: str, folder: str) -> str:
        if folder == "test":
            return "test"
        if valid is not None:
            return "valid" if name in valid else "train"
        if train is not None:
            return "train" if name in train else "valid"
        return "valid" if name in VALIDATION_SONGS else "train"

    return split_of


def _names_in(places: list[Path], split: str) -> set[str] | None:
    for place in places:
        path = place / f"musdb18.{split}.json"
        if path.is_file():
            return {song.name for song in load_songs(path)}
    return None
