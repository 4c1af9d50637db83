"""Enhance CAD1's songs for its listeners.

python enhance.py path.root=/data/cad1 separator.model=spleeter:4stems
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

import hydra
from omegaconf import DictConfig
from settings import read_folder, read_task

from cadenza_remix.audio.io import find_audio
from cadenza_remix.challenge.metadata import song_folder
from cadenza_remix.challenge.naming import ENHANCED_FOLDER
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.challenge.submission import pack_submission
from cadenza_remix.console import exit_status, print_error, shown_progress
from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.hearing.compressor import CompressorSettings
from cadenza_remix.hearing.nalr import NalrSettings
from cadenza_remix.remix import Chain, load_chain
from cadenza_remix.runs.enhancing import enhance_songs
from cadenza_remix.runs.songs import SongFile
from cadenza_remix.runs.stage_times import FOLDER, recorded_times
from cadenza_remix.separation.loading import choose_separator, is_model_path, load_separator, separator_names
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.separation.separator import Separator

COMPRESSOR_KEYS = {
    "threshold": "threshold_lin",
    "attenuation": "attenuation",
    "attack": "attack_ms",
    "release": "release_ms",
    "rms_buffer_size": "rms_window_s",
    "makeup_gain": "makeup_gain_lin",
}


def read_chain(config: DictConfig) -> Chain:
    """Take the chain by its name, then what the command line changes about its parts."""
    chain = load_chain(str(config.chain))
    if config.nalr.nfir is not None:
        if chain.nalr is None:
            raise InputError("setting of a part that is off", where="nalr.nfir", expected="a chain with NAL-R")
        chain = dataclasses.replace(chain, nalr=NalrSettings(order=config.nalr.nfir))
    if config.apply_compressor not in (None, True, False):
        raise InputError(
            "wrong value", where="apply_compressor", expected="true or false", found=config.apply_compressor
        )
    compressor = chain.compressor
    if config.apply_compressor is not None:
        compressor = (compressor or CompressorSettings()) if config.apply_compressor else None
    changes = {
        name: config.compressor[key] for key, name in COMPRESSOR_KEYS.items() if config.compressor[key] is not None
    }
    if changes and compressor is None:
        raise InputError("setting of a part that is off", where="compressor", expected="apply_compressor=true")
    return dataclasses.replace(chain, compressor=dataclasses.replace(compressor, **changes) if compressor else None)


def read_separator(config: DictConfig) -> Separator:
    settings = config.separator
    options = SeparationOptions(
        device=settings.device, wiener=settings.wiener, refine=settings.refine, high_band=settings.high_band
    )
    name = settings.model
    if name == "auto":
        choice = choose_separator()
        print(f"separator {choice.name}: {choice.reason}", choice.advice, sep="\n")
        name = choice.name
    elif name not in separator_names() and not is_model_path(name):
        raise unknown_name("separator", name, separator_names(), where="separator.model")
    return load_separator(name, options=options)


def from_another_song(pairs: Sequence[Pair], *, batch: int, n_batches: int) -> list[Pair]:
    """Let each batch begin with another song: batches that run at once then share the demixing out among them."""
    songs = list(dict.fromkeys(pair.song for pair in pairs))
    first = len(songs) * batch // n_batches
    place = {song: number for number, song in enumerate(songs[first:] + songs[:first])}
    return sorted(pairs, key=lambda pair: place[pair.song])


def enhance(config: DictConfig) -> int:
    task, chain, out = read_task(config), read_chain(config), read_folder(config)
    separator = read_separator(config)
    songs = [
        SongFile(song.name, find_audio(song_folder(config.path.music_dir, song), "mixture"))
        for song in task.batch_songs
    ]
    print(f"{len(task.pairs)} of {len(task.all_pairs)} pairs, {separator.name}, chain {chain.name} -> {out}")
    with shown_progress() as progress, recorded_times(out / FOLDER, progress) as timed:
        report = enhance_songs(
            songs,
            task.listeners,
            separator=separator,
            chain=chain,
            out=out,
            pairs=from_another_song(task.pairs, batch=config.evaluate.batch, n_batches=config.evaluate.batch_size),
            segments=task.segments,
            n_workers=config.n_workers,
            progress=timed,
        )
    print(f"made {report.n_made}, found done {report.n_found}, samples over full scale {report.n_over_full_scale}")
    for failure in report.failures:
        print_error(f"{failure.unit}: {failure.error}")
    if report.failures:
        return 2
    if config.mode == "test" and task.pairs == task.all_pairs and not config.evaluate.small_test:
        print(
            pack_submission(out / ENHANCED_FOLDER, out, config.team_id, songs=task.songs, listener_ids=task.listeners)
        )
    return 0


@hydra.main(config_path=".", config_name="config", version_base="1.3")
def main(config: DictConfig) -> None:
    if status := exit_status(lambda: enhance(config)):
        sys.exit(status)


if __name__ == "__main__":
    main()
