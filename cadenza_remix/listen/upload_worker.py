"""The program that decodes and demixes a visitor's song, in a process of its own (see `cadenza_remix.listen.sandbox`).

Both tasks read and write block by block, so that the length of a song costs no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cadenza_remix.listen.sandbox import serve_task

#: Called with the share of the work that is done.
OnShare = Callable[[float], None]


def decode(*, source: str, shown_name: str, target: str, max_song_s: float, on_share: OnShare) -> dict[str, Any]:
    """Decode any audio file to a float WAV, stereo at 44.1 kHz; return its ``duration_s``.

    Parameters
    ----------
    source, target : str
        Paths; ``shown_name`` takes the place of the first one in messages.
    max_song_s : float
        A longer song is refused: at once where it says so, else when it turns out.

    Raises
    ------
    InputError
        No audio, damaged, empty, too long, of more than two channels.
    """
    from cadenza_remix.audio.blocks import checked_blocks
    from cadenza_remix.audio.reading import FileBlocks
    from cadenza_remix.audio.resample import ResampledBlocks
    from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE
    from cadenza_remix.audio.writing import WavWriter
    from cadenza_remix.errors import InputError

    def too_long() -> InputError:
        return InputError("song is too long", where=shown_name, expected=f"at most {max_song_s:g} s")

    try:
        file = FileBlocks.of(source)
        if file.duration_s is not None and file.duration_s > max_song_s:
            raise too_long()
        n_samples = 0
        with WavWriter(Path(target), bits="32f", sample_rate=MUSIC_SAMPLE_RATE, n_channels=2) as writer:
            for block in checked_blocks(ResampledBlocks(file, MUSIC_SAMPLE_RATE)):
                n_samples += len(block)
                duration_s = n_samples / MUSIC_SAMPLE_RATE
                if duration_s > max_song_s:
                    raise too_long()
                writer.write(block)
                if file.duration_s:
                    on_share(duration_s / file.duration_s)
    except InputError as error:  # a visitor's business is not where the server keeps things
        raise InputError(str(error).replace(source, shown_name)) from error
    return {"duration_s": n_samples / MUSIC_SAMPLE_RATE}


def demix(*, source: str, shown_name: str, folder: str, separator: str, on_share: OnShare) -> dict[str, Any]:
    """Demix a stereo WAV at 44.1 kHz into ``vocals.wav``, ``drums.wav``, ``bass.wav`` and ``other.wav`` (floats).

    Raises
    ------
    InputError
        The separator does not give these four stems, or not at this rate or length.
    """
    from cadenza_remix.audio.reading import CountedBlocks, FileBlocks
    from cadenza_remix.audio.signal import STEMS
    from cadenza_remix.audio.writing import WavWriter
    from cadenza_remix.errors import InputError
    from cadenza_remix.separation.loading import load_separator
    from cadenza_remix.separation.stems import PIANO, has_vdbo

    model = load_separator(separator)
    if not has_vdbo(model.stems):
        found = ", ".join(model.stems)
        raise InputError("does not separate into four stems", where=separator, expected=", ".join(STEMS), found=found)
    song = CountedBlocks(FileBlocks.of(source))
    n_samples = 0
    with ExitStack() as stack:
        writers = {
            stem: stack.enter_context(
                WavWriter(Path(folder, f"{stem}.wav"), bits="32f", sample_rate=song.sample_rate, n_channels=2)
            )
            for stem in STEMS
        }
        for block in model.separate_blocks(song, progress=on_share):
            n_samples += len(block[STEMS[0]])
            for stem, writer in writers.items():
                # A piano stem belongs to the rest, as everywhere in this package.
                is_merged = stem == "other" and PIANO in block
                writer.write(block[stem] + block[PIANO] if is_merged else block[stem])
    if n_samples != song.n_samples:
        raise InputError(
            "stems are not as long as the song", where=shown_name, expected=song.n_samples, found=n_samples
        )
    return {"separator": model.name}


if __name__ == "__main__":
    serve_task({"decode": decode, "demix": demix})
