"""What the files of a run tell besides scores: loudness, peaks, achieved gains and spectra of each pair.

Conventions: loudness is that of ITU-R BS.1770 in LUFS; peaks are those of samples, in dB of full scale, of the remix
*before* it is clipped softly (as the record of the pair holds it), while loudness and spectrum of the remix are those
of its file, which is what a listener gets. The mixture is measured over the very seconds that the remix holds. The
achieved insertion gain of an ear is the energy of its four enhanced stems in a band over that of the same channel of
the four separated stems: prescription, stem gains, compressor and all. What cannot be measured is None, with the reason
in ``missing``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.io import STEM_LENGTH_TOLERANCE_S, load_audio, read_scaled_flac
from cadenza_remix.audio.signal import EARS, STEM_SAMPLE_RATE, STEMS, Audio
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.report.bands import BandLevels, EarLevels, band_energies, bands_below, levels_db, mean_levels
from cadenza_remix.runs.finished import FinishedRun
from cadenza_remix.runs.progress import NoProgress, Progress
from cadenza_remix.units import lin_to_db

STAGE = "measure"
"""The name under which `measure_pairs` tells its progress, in pairs."""
_QUIET_DB = -60.0
_SILENT_DBFS = -120.0
_Segment = tuple[float, float] | None
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class PairMeasures:
    """Measures of one song for one listener; None for what could not be measured.

    Parameters
    ----------
    song, listener : str
    mixture_lufs, remix_lufs : float or None
    mixture_peak_dbfs : float or None
    remix_peak_dbfs : float or None
        Before soft clipping: above 0 where the chain drove the remix over full scale.
    over_full_scale_share : float or None
        Share of the remix's samples over full scale before soft clipping, 0 to 1.
    gains_db : mapping of str to BandLevels, or None
        Achieved insertion gain by ear, 50 Hz to 10 kHz; NaN in bands that lie more than 60 dB below the whole signal.
    mixture_spectrum, remix_spectrum : mapping of str to BandLevels, or None
        Mean level by ear in dB of full scale (RMS of 1), 50 Hz to 12.5 kHz; NaN below -120 dB.
    missing : mapping of str to str
        Name of each field that is None, and why.
    """

    song: str
    listener: str
    mixture_lufs: float | None = None
    remix_lufs: float | None = None
    mixture_peak_dbfs: float | None = None
    remix_peak_dbfs: float | None = None
    over_full_scale_share: float | None = None
    gains_db: EarLevels | None = None
    mixture_spectrum: EarLevels | None = None
    remix_spectrum: EarLevels | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def loudness_change_lu(self) -> float | None:
        """By how much the remix is louder than the mixture; None where one of them is not known."""
        if self.mixture_lufs is None or self.remix_lufs is None:
            return None
        return self.remix_lufs - self.mixture_lufs


def measure_pairs(run: FinishedRun, pairs: Iterable[Pair], *, progress: Progress | None = None) -> list[PairMeasures]:
    """Measure pairs of a run from its files.

    One file of audio is in memory at a time. What belongs to a song is measured once for all of its listeners where
    ``pairs`` names them one after another, as ``run.pairs`` does.

    Parameters
    ----------
    run : FinishedRun
    pairs : iterable of Pair
        Of ``run.pairs``.
    progress : Progress, optional
        Told of the stage ``measure``, in pairs.

    Returns
    -------
    list of PairMeasures
        In the order of ``pairs``.

    Raises
    ------
    InputError
        A pair that the run does not have.
    """
    pairs = list(pairs)
    for pair in pairs:
        if pair not in run.pairs:
            known = [f"{known.song} for {known.listener}" for known in run.pairs[:20]]
            raise unknown_name("pair", f"{pair.song} for {pair.listener}", known, where=run.name)
    progress = progress or NoProgress()
    progress.start(STAGE, len(pairs))
    # The mixture and the separated stems of the song at hand: a run with a segment for each listener asks for several.
    mixture_of, separated_of = lru_cache(maxsize=8)(_measure_signal), lru_cache(maxsize=8)(_separated_energies)
    measured = []
    for pair in pairs:
        measured.append(_measure_pair(run, pair, mixture_of, separated_of))
        progress.advance(STAGE)
    return measured


def mean_gains(measures: Iterable[PairMeasures]) -> dict[str, dict[str, BandLevels]]:
    """Return the achieved gains of each listener by ear: means in dB over the songs; listeners without any left out."""
    found: dict[str, list[EarLevels]] = {}
    for one in measures:
        if one.gains_db is not None:
            found.setdefault(one.listener, []).append(one.gains_db)
    return {name: {ear: mean_levels([ears[ear] for ears in many]) for ear in EARS} for name, many in found.items()}


def mean_spectrum(spectra: Sequence[EarLevels | None]) -> dict[str, BandLevels] | None:
    """Return the mean of spectra in dB by ear; None where there are none."""
    known = [spectrum for spectrum in spectra if spectrum is not None]
    return {ear: mean_levels([spectrum[ear] for spectrum in known]) for ear in EARS} if known else None


@dataclass(frozen=True, eq=False)
class _Signal:
    lufs: float | None
    peak_dbfs: float | None
    spectrum: EarLevels


def _measure_pair(
    run: FinishedRun,
    pair: Pair,
    mixture_of: Callable[[Path, _Segment], _Signal],
    separated_of: Callable[[Path, _Segment], _Separated],
) -> PairMeasures:
    missing: dict[str, str] = {}

    def attempt(names: Sequence[str], measure: Callable[[], _T]) -> _T | None:
        try:
            return measure()
        except InputError as error:
            missing.update(dict.fromkeys(names, str(error)))
            return None

    cut = run.segments_s(pair) or {}
    sources = run.sources[pair.song]
    mixture = attempt(
        ("mixture_lufs", "mixture_peak_dbfs", "mixture_spectrum"),
        lambda: mixture_of(_there(sources.mixture, f"no mixture of {pair.song!r} was found"), cut.get("subjective")),
    )
    remix = attempt(
        ("remix_lufs", "remix_spectrum"),
        lambda: _measure_signal(_there(run.remix_file(pair), "no remix was found"), None),
    )
    clipping = attempt(("remix_peak_dbfs", "over_full_scale_share"), lambda: _from_record(run, pair))
    gains = attempt(("gains_db",), lambda: _achieved_gains(run, pair, cut.get("objective"), separated_of))
    values: dict[str, Any] = {"gains_db": gains, **(clipping or {})}
    if mixture is not None:
        values.update(mixture_lufs=mixture.lufs, mixture_peak_dbfs=mixture.peak_dbfs, mixture_spectrum=mixture.spectrum)
    if remix is not None:
        values.update(remix_lufs=remix.lufs, remix_spectrum=remix.spectrum)
    for name in ("mixture_lufs", "mixture_peak_dbfs", "remix_lufs", "remix_peak_dbfs"):
        if values.get(name) is None:
            missing.setdefault(name, "silent")
    return PairMeasures(pair.song, pair.listener, **values, missing=missing)


def _there(path: Path | None, problem: str) -> Path:
    if path is None:
        raise InputError(problem)
    return path


def _measure_signal(path: Path, segment: _Segment) -> _Signal:
    # Loaded only here: the measuring of loudness brings SciPy's filters with it.
    from cadenza_remix.audio.loudness import integrated_lufs

    audio = load_audio(path, sample_rate=None)
    if segment is not None:  # before a single channel is doubled
        audio = audio.excerpt(*segment)
    audio = audio.stereo()
    lufs = integrated_lufs(audio)
    peak_dbfs = float(lin_to_db(max(float(audio.samples.max()), -float(audio.samples.min()))))
    return _Signal(lufs if np.isfinite(lufs) else None, peak_dbfs if np.isfinite(peak_dbfs) else None, _spectrum(audio))


def _spectrum(audio: Audio) -> dict[str, BandLevels]:
    levels = levels_db(band_energies(audio.samples, audio.sample_rate))
    levels[levels < _SILENT_DBFS] = np.nan
    centres = bands_below(audio.sample_rate)
    return {ear: BandLevels(centres, levels[:, column]) for column, ear in enumerate(EARS)}


def _from_record(run: FinishedRun, pair: Pair) -> dict[str, float | None]:
    record = run.enhanced.get(pair)
    if record is None:
        raise InputError(f"no record of enhancing {pair.song!r} for {pair.listener}")
    results = record.results
    try:
        n_over, n_samples, peak_lin = (
            float(results[name]) for name in ("n_over_full_scale", "n_remix_samples", "remix_peak_lin")
        )
    except (KeyError, TypeError, ValueError):
        raise InputError("record tells no peak", where=record.unit, expected="remix_peak_lin and counts") from None
    peak_dbfs = float(lin_to_db(peak_lin))
    return {
        "remix_peak_dbfs": peak_dbfs if np.isfinite(peak_dbfs) else None,
        "over_full_scale_share": n_over / n_samples if n_samples else 0.0,
    }


@dataclass(frozen=True, eq=False)
class _Separated:
    """Energies of the four separated stems together, shape (n_bands, 2), and how long the stems are."""

    energies: NDArray[np.float64]
    duration_s: float


def _separated_energies(folder: Path, segment: _Segment) -> _Separated:
    energies = np.zeros((len(bands_below(STEM_SAMPLE_RATE)), len(EARS)))
    duration_s = 0.0
    for stem in STEMS:
        # At the rate of the enhanced stems, so that the resampler's edge is in both.
        audio = load_audio(folder / f"{stem}.wav", sample_rate=STEM_SAMPLE_RATE).stereo()
        if segment is not None:
            audio = audio.excerpt(*segment)
        energies += audio.n_samples * band_energies(audio.samples, STEM_SAMPLE_RATE)
        duration_s = max(duration_s, audio.duration_s)
        del audio  # before the next one is read
    return _Separated(energies, duration_s)


def _achieved_gains(
    run: FinishedRun, pair: Pair, segment: _Segment, separated_of: Callable[[Path, _Segment], _Separated]
) -> dict[str, BandLevels]:
    kept = _there(run.sources[pair.song].kept_stems, f"no separated stems of {pair.song!r} were kept")
    files = {
        ear: [_there(run.stem_file(pair, ear, stem), f"no enhanced {ear} {stem} was found") for stem in STEMS]
        for ear in EARS
    }
    separated = separated_of(kept, segment)
    total = separated.energies.sum(axis=0)
    gains = {}
    for column, ear in enumerate(EARS):
        before, after = separated.energies[:, column], np.zeros(len(separated.energies))
        for path in files[ear]:
            audio = read_scaled_flac(path)
            _check_enhanced(audio, separated.duration_s)
            after += audio.n_samples * band_energies(audio.samples[:, :1], STEM_SAMPLE_RATE)[:, 0]
        enough = (before > 0) & (levels_db(before) > levels_db(total[column]) + _QUIET_DB)
        ratio = after / np.where(enough, before, 1.0)
        gains_db = np.where(enough & (ratio > 0), levels_db(ratio), np.nan)
        gains[ear] = BandLevels(bands_below(STEM_SAMPLE_RATE), gains_db)
    return gains


def _check_enhanced(audio: Audio, duration_s: float) -> None:
    if audio.sample_rate != STEM_SAMPLE_RATE:
        expected, found = f"{STEM_SAMPLE_RATE} Hz", f"{audio.sample_rate} Hz"
        raise InputError("wrong sample rate", where=audio.name, expected=expected, found=found)
    if abs(audio.duration_s - duration_s) > STEM_LENGTH_TOLERANCE_S:
        expected, found = f"{duration_s:.3f} s as the separated stems", f"{audio.duration_s:.3f} s"
        raise InputError("wrong length", where=audio.name, expected=expected, found=found)
