"""``deezer:4stems`` and its like: separation by Deezer's own package, which runs in another environment.

For whoever wants the package's own word; `cadenza_remix.separation.spleeter` gives the same from the same weights
(differences below 5e-5 of full scale), faster and in less memory.

The package takes a song as a whole (13.6 GB for 10 minutes). Here it gets windows that are cut so that nothing shows:
it cuts the spectrogram of what it gets into segments of 512 frames, counted from the beginning, and each segment goes
through the network by itself. So a window begins at a border of the song's segments and has one more segment in front
and at its end the start of another, whose output is thrown away. Only three frames of each end differ from the whole
song's, and the network looks no further than some 260 frames: what is kept is the same bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from cadenza_remix.audio.blocks import Block, BlockSource, StemBlock, checked_blocks
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import ModelError, unknown_name
from cadenza_remix.separation.borrowed.deezer_engine import COMMAND, DeezerEngine, find_engine
from cadenza_remix.separation.borrowed.deezer_process import WorkerProcess
from cadenza_remix.separation.models.fetching import sha256_of
from cadenza_remix.separation.models.manifest import CHECKPOINT_FILES
from cadenza_remix.separation.models.registry import ModelCard, model_card, model_names
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.separation.separator import Progress, check_source_rate, separate_whole
from cadenza_remix.separation.stems import Stems

PREFIX = "deezer:"
_OURS = "spleeter:"

#: Segments of 512 frames (11.9 s) that a window adds to the output. More of them take more memory (3 GB as it is), with
#: fewer of them more of the package's work is thrown away (two segments of each window).
SEGMENTS_KEPT = 8

# To be raised when the same settings come to give other stems, so that kept ones are not taken for them.
_REVISION = 1


class Store(Protocol):
    """Where models and engines lie; `cadenza_remix.separation.models.store.ModelStore` is one."""

    @property
    def home(self) -> Path: ...
    def path(self, card: ModelCard, *, form: str | None = None) -> Path: ...


def deezer_names() -> tuple[str, ...]:
    """Return the names of what the package can do, whether it is there or not."""
    return tuple(PREFIX + name.removeprefix(_OURS) for name in model_names() if name.startswith(_OURS))


def load_deezer(name: str, *, store: Store, options: SeparationOptions) -> DeezerSeparator:
    """Build a separator of the package and a model that are on this machine.

    Parameters
    ----------
    name : str
        One of `deezer_names`.
    store : ModelStore
        Has the model's checkpoint; the package's environment lies in its home.
    options : SeparationOptions
        All are refused: the package's masks are its own, and its Wiener filter looks at songs as a whole, which windows
        would change.

    Raises
    ------
    InputError
        No such name, or an option that is not at its default.
    ModelError
        The package or the model is not there; the line has the command that gets it.
    """
    if name not in deezer_names():
        raise unknown_name("separator", name, deezer_names())
    options.refuse_all_but((), separator=name)
    card = model_card(_OURS + name.removeprefix(PREFIX))
    folder = store.path(card, form="checkpoint")  # which is all that the package reads
    return DeezerSeparator(card, folder, find_engine(store.home))


class DeezerSeparator:
    """One model in Deezer's package.

    Its process is started with the first song, and kept for the next ones; it runs on the CPU and uses no network.
    Songs of several threads wait for each other.

    Parameters
    ----------
    card : ModelCard
        Which of Spleeter's models.
    folder : Path
        Holds its checkpoint.
    engine : DeezerEngine
        The environment of the package.
    segments_kept : int, optional
        How many segments of 512 frames each window adds to the output.

    Raises
    ------
    ModelError
        The checkpoint is not there. When separating: the package does not work, or ended in the middle of its work;
        the next song starts it again.
    """

    def __init__(
        self, card: ModelCard, folder: Path, engine: DeezerEngine, *, segments_kept: int = SEGMENTS_KEPT
    ) -> None:
        self.name = PREFIX + card.name.removeprefix(_OURS)
        self.stems = card.stems
        self.sample_rate = card.sample_rate
        files = [sha256_of(folder / name) for name in CHECKPOINT_FILES]
        facts = json.dumps([_REVISION, self.name, dict(sorted(engine.versions.items())), files])
        self.fingerprint = hashlib.sha256(facts.encode()).hexdigest()[:16]
        self._segments_kept = segments_kept
        self._segment = card.n_frames * card.hop_length
        self._overhang = card.frame_length
        self._hop = card.hop_length
        self._folder = folder
        self._engine = engine
        self._worker: WorkerProcess | None = None
        self._lock = threading.Lock()

    @property
    def process_id(self) -> int | None:
        """The process of the package, where one is running."""
        worker = self._worker
        return worker.process_id if worker is not None and worker.usable else None

    def separate(self, audio: Audio, *, progress: Progress | None = None) -> Stems:
        """Separate one song; see `cadenza_remix.separation.separator.Separator.separate`."""
        return separate_whole(self, audio, progress=progress)

    def separate_blocks(self, source: BlockSource, *, progress: Progress | None = None) -> Iterator[StemBlock]:
        """Separate window by window; see `cadenza_remix.separation.separator.Separator.separate_blocks`."""
        check_source_rate(source, self.sample_rate)
        n_expected = None if source.duration_s is None else source.duration_s * self.sample_rate
        n_done = 0
        for window, kept, last in cut(
            checked_blocks(source),
            segment=self._segment,
            n_segments=self._segments_kept,
            hop=self._hop,
            overhang=self._overhang,
        ):
            estimates = self._separate_window(window)
            yield {stem: estimates[stem][kept] for stem in self.stems}
            n_done += kept.stop - kept.start
            if progress is not None and (last or n_expected):
                progress(1.0 if last else min(1.0, n_done / (n_expected or n_done)))

    def close(self) -> None:
        """End the package's process; the next song starts it again."""
        with self._lock:
            if self._worker is not None:
                self._worker.close()
                self._worker = None

    def _separate_window(self, window: Block) -> dict[str, Block]:
        with self._lock:
            if self._worker is None or not self._worker.usable:
                self._worker = self._start()
            estimates = self._worker.separate(window)
        if set(estimates) != set(self.stems):
            raise ModelError(
                f"{self.name}: wrong stems from Deezer's package: expected {', '.join(self.stems)}, "
                f"found {', '.join(estimates)}"
            )
        for stem, samples in estimates.items():
            if not np.isfinite(samples).all():
                raise ModelError(f"{self.name}: {stem} is not finite: expected numbers, found NaN or infinity")
        return estimates

    def _start(self) -> WorkerProcess:
        model = self.name.removeprefix(PREFIX)
        python = self._engine.python
        try:
            worker = WorkerProcess(python, "serve", model, str(self._folder.absolute()), what=self.name)
        except ModelError as error:
            raise ModelError(f"{error} (by {python}; if that is broken, make it again with `{COMMAND}`)") from error
        expected = dict(self._engine.versions)
        if worker.versions != expected:
            worker.close()
            raise ModelError(
                f"{self.name}: {python}: not what was there when it was made: expected {_told(expected)}, "
                f"found {_told(worker.versions)}: make it again with `{COMMAND}`"
            )
        return worker


def cut(
    blocks: Iterable[Block], *, segment: int, n_segments: int, hop: int, overhang: int
) -> Iterator[tuple[Block, slice, bool]]:
    """Cut music into windows whose inside the package separates as it separates the whole.

    Frame ``k`` of the package's transform covers the samples from ``k hop - overhang`` to ``k hop``, so the frames of
    the segment that ends with the song's sample ``border`` want the samples before ``border - hop``, and they alone
    give those before ``border - overhang``: there the next window takes over. Its first kept samples come half from the
    last frames of its first segment, which lie far behind the frames that its beginning has cut.

    Parameters
    ----------
    blocks : iterable of arrays of shape (n_samples, 2)
        Pieces of any length.
    segment, hop, overhang : int
        A segment, the frames' step, and the frames' length, in samples; the first two divide what comes before them.
    n_segments : int
        How many segments each window adds.

    Yields
    ------
    window : array of shape (n_samples, 2)
    kept : slice
        The part whose separation is to be kept; these parts follow on each other without gap.
    last : bool
        Whether the song ends with it.
    """
    held: list[Block] = []
    n_held = 0
    # Of what is held: where the next kept part begins, and the border of a segment that the window ends behind.
    first, border = 0, n_segments * segment
    for piece in _small(blocks, segment):
        held.append(piece)
        n_held += len(piece)
        # Nothing is cut off before it is known that more music follows.
        while n_held > border:
            music = np.concatenate(held)
            kept = slice(first, border - overhang)
            yield music[: border - hop], kept, False
            # The next window begins one segment before the first one that it adds.
            gone = border - segment
            held, n_held = [music[gone:].copy()], n_held - gone
            first, border = border - overhang - gone, segment + n_segments * segment
    if n_held:
        yield np.concatenate(held), slice(first, n_held), True


def _small(blocks: Iterable[Block], most: int) -> Iterator[Block]:
    """Cut long blocks, so that a song given as one block is not copied as a whole."""
    for block in blocks:
        for start in range(0, len(block), most):
            yield block[start : start + most]


def _told(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())
