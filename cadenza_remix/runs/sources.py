"""Where the processed stems of a pair come from: an entry's files, the unprocessed mixture, or the clean stems.

Each can be sent to another process, reads one pair at a time, and gives a digest of what the pair's scores depend on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from cadenza_remix.audio.io import load_audio, load_stems
from cadenza_remix.audio.signal import EARS, STEMS, Audio
from cadenza_remix.challenge.naming import channel_name, scale_path, stem_path, stem_paths
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.challenge.scoring import mixture_as_stems
from cadenza_remix.challenge.tree import EnhancedTree, open_pair, open_tree
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.remix import enhance_stems, load_chain
from cadenza_remix.runs.records import digest, file_digest
from cadenza_remix.runs.songs import find_references, references_digest


class ProcessedSource(Protocol):
    """Gives the eight processed stems of a pair, ``<ear>_<stem>``: mono, 24 kHz, at their true level."""

    def digest(self, pair: Pair) -> str: ...

    def read(self, pair: Pair) -> Mapping[str, Audio]: ...


@dataclass(frozen=True)
class EntryFiles:
    """The files of a folder of enhanced signals, or of a submission's zip file read in place.

    ``listeners``: only these, as if there were no others.
    """

    path: Path
    listeners: tuple[str, ...] | None = None

    @cached_property
    def tree(self) -> EnhancedTree:
        tree = open_tree(self.path)
        return tree if self.listeners is None else tree.of_listeners(self.listeners)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "listeners": self.listeners}  # an open zip file stays with its process

    def digest(self, pair: Pair) -> str:
        return _digest_in(self.tree, pair)

    def read(self, pair: Pair) -> Mapping[str, Audio]:
        return _read_from(self.tree, pair)


@dataclass(frozen=True)
class GrowingEntry:
    """The enhanced signals of a run that is still at work: looked up pair by pair, never listed as a whole.

    ``folder``: holds one folder per listener.
    """

    folder: Path

    def digest(self, pair: Pair) -> str:
        return _digest_in(open_pair(self.folder, pair), pair)

    def read(self, pair: Pair) -> Mapping[str, Audio]:
        return _read_from(open_pair(self.folder, pair), pair)


@dataclass(frozen=True)
class Mixtures:
    """What doing nothing gives: the mixture of each song in place of every stem."""

    path_of: Mapping[str, Path]

    def digest(self, pair: Pair) -> str:
        return digest("mixture", file_digest(self.path_of[pair.song]))

    def read(self, pair: Pair) -> Mapping[str, Audio]:
        return mixture_as_stems(load_audio(self.path_of[pair.song]))


@dataclass(frozen=True)
class CleanStems:
    """What a perfect separation gives: the clean stems with the listener's NAL-R."""

    references: Path
    listeners: Mapping[str, Listener]

    def digest(self, pair: Pair) -> str:
        clean = references_digest(find_references(self.references, pair.song))
        return digest("clean", clean, load_chain("baseline").to_dict())

    def read(self, pair: Pair) -> Mapping[str, Audio]:
        stems = load_stems(find_references(self.references, pair.song))
        return enhance_stems(stems, self.listeners[pair.listener], load_chain("baseline")).stems


def _digest_in(tree: EnhancedTree, pair: Pair) -> str:
    """Return a digest of the bytes of the eight stems and their scale files: one for folder and zip file."""
    parts = []
    for path in stem_paths("", pair.listener, pair.song):
        scale = scale_path(path).as_posix()
        parts.append([tree.digest(path.as_posix()), tree.digest(scale) if scale in tree else None])
    return digest(parts)


def _read_from(tree: EnhancedTree, pair: Pair) -> Mapping[str, Audio]:
    return {
        channel_name(ear, stem): tree.read_audio(stem_path("", pair.listener, pair.song, ear, stem).as_posix())
        for ear in EARS
        for stem in STEMS
    }
