"""The hearing-loss simulation of Moore, Stone, Baer and Glasberg as pyclarity has it (extra ``clarity``).

Beside raised thresholds and recruitment it smears the spectrum, as the broader filters of an impaired ear do, in three
grades after the audiogram. Its parts are taken one by one, at the level that we give: pyclarity's own way through
them (`Ear.process`) first scales the music by how much of it is silence. The delay of its filters is taken out.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.resample import resample, resample_samples
from cadenza_remix.audio.signal import EARS, Audio
from cadenza_remix.errors import MissingDependencyError
from cadenza_remix.hearing.audiogram import Audiogram, Listener

_SAMPLE_RATE = 44_100
"""The only rate that the model knows."""
_HIGHEST_DB_HL = 80.0
"""Beyond it pyclarity warns of unrealistic results; at its catch-up level of 105 dB it would divide by zero."""
_FIR_DELAY = 2 * int(_SAMPLE_RATE / 16e3 * 368 / 2)
"""Samples by which the way into the cochlea and back delays: twice half the order of a filter of linear phase."""


def is_installed() -> bool:
    """Tell whether pyclarity is there, without loading it."""
    return importlib.util.find_spec("clarity") is not None


def hear_as_msbg(audio: Audio, listener: Listener, *, full_scale_db_spl: float) -> Audio:
    """Return the audio as pyclarity's model lets the listener hear it.

    Parameters
    ----------
    audio : Audio
        Mono (goes to both ears) or stereo, any rate; the model works at 44.1 kHz.
    listener : Listener
        Losses are taken up to 80 dB HL, as the model says.
    full_scale_db_spl : float
        The dB SPL of an RMS of 1 in one channel.

    Returns
    -------
    Audio
        Stereo, at the same rate, of the same length and in time.

    Raises
    ------
    MissingDependencyError
        pyclarity is not installed.
    """
    from threadpoolctl import threadpool_limits

    try:
        from clarity.evaluator.msbg.msbg import Ear
    except ImportError as error:
        raise MissingDependencyError(
            "simulator msbg: expected the package pyclarity, found none (pip install 'cadenza-remix[clarity]')"
        ) from error
    stereo = resample(audio.stereo(), _SAMPLE_RATE)
    heard = np.empty((audio.n_samples, 2), dtype=np.float32)
    for column, name in enumerate(EARS):
        ear = Ear(src_pos="ff", sample_rate=_SAMPLE_RATE, equiv_0db_spl=full_scale_db_spl, ahr=0.0)
        # Smearing multiplies a small matrix every 64 samples: several threads would wait for each other, up to ten
        # times as long on a busy machine.
        with _quiet(), threadpool_limits(1, user_api="blas"):
            ear.set_audiogram(_as_clarity(listener.ear(name)))
            samples = _through(ear, stereo.samples[:, column].astype(np.float64))
        back = resample_samples(samples, _SAMPLE_RATE, audio.sample_rate)[: audio.n_samples]
        heard[: len(back), column] = back
        heard[len(back) :, column] = 0
    return Audio(heard, audio.sample_rate, f"{audio.name} as {listener.id} hears it (MSBG)")


def _through(ear: Any, samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Send one channel into the cochlea, through it and back; what the filters delay is cut off in front."""
    from clarity.evaluator.msbg.smearing import FRAME_SIZE, SHIFT

    n_samples = len(samples)
    # Smearing gives a frame out when it has taken the whole of it in; a mild loss is not smeared.
    delay = _FIR_DELAY + (FRAME_SIZE - SHIFT if ear.cochlea.smearer is not None else 0)
    # Silence behind: the filters' tails, and blocks of the smearing that would not be full.
    padded = np.concatenate([samples, np.zeros(delay + _SAMPLE_RATE // 10)])
    inside = ear.src_to_cochlea_filt(padded, ear.src_correction, _SAMPLE_RATE)
    inside = ear.cochlea.simulate(inside, ear.equiv_0db_spl)
    outside = ear.src_to_cochlea_filt(inside, ear.src_correction, _SAMPLE_RATE, backward=True)
    return np.asarray(outside)[delay : delay + n_samples]


def _as_clarity(audiogram: Audiogram) -> Any:
    from clarity.utils.audiogram import Audiogram as ClarityAudiogram

    levels = np.clip(audiogram.levels_db_hl, 0, _HIGHEST_DB_HL)
    return ClarityAudiogram(levels=levels, frequencies=audiogram.frequencies_hz)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the model's running commentary out of the log."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
