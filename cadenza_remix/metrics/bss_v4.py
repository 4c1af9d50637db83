"""BSS Eval v4: what is wrong with separated sources, by kind and window by window.

An estimate is taken apart into the true source, what a filter makes wrong with it, what filters make of the other
sources, and the rest. The filters are found once for the whole song (that is version 4: Stöter, Liutkus & Ito 2018,
"The 2018 Signal Separation Evaluation Campaign"; the parts after Vincent et al. 2007, "First stereo audio source
separation evaluation campaign") and applied in each window.

How a song is reported: the median over its windows (`BssEvalResult.medians`). How a system is reported: the median of
those over the songs (`median_over_tracks`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError
from cadenza_remix.metrics.bss import Projector, correlations, solve_filters
from cadenza_remix.metrics.pairs import checked_pair, energy, frames, one_rate, projected_ratio_db
from cadenza_remix.metrics.separation import check_filter_length
from cadenza_remix.units import energy_ratio_db

MEASURES = ("sdr_db", "isr_db", "sir_db", "sar_db")
VERSIONS = ("images", "sources")


@dataclass(frozen=True, eq=False)
class BssEvalResult:
    """What `bss_eval` found, in dB, as arrays of shape (n_sources, n_windows).

    Windows in which any source is silent, in reference or estimate, are NaN.

    Parameters
    ----------
    sources : tuple of str
        The names of the rows.
    starts_s : array of shape (n_windows,)
        Where each window starts, in seconds.
    sdr_db : array
        True source over everything that is wrong; in the version ``sources`` a filtered true source is not wrong.
    isr_db : array
        True source over what a filter makes wrong with it (spatial distortion, equalisation, level). The version
        ``sources`` has none: NaN.
    sir_db : array
        Filtered true source over what a filter makes of the other sources (interference).
    sar_db : array
        All filtered sources over the rest (artefacts).
    """

    sources: tuple[str, ...]
    starts_s: NDArray[np.float64]
    sdr_db: NDArray[np.float64]
    isr_db: NDArray[np.float64]
    sir_db: NDArray[np.float64]
    sar_db: NDArray[np.float64]

    def medians(self) -> dict[str, dict[str, float]]:
        """Return the median over the windows by source and measure, as separation campaigns report a song.

        Windows without a score are left out; NaN where there is no other.
        """
        return {
            name: {measure: _median(getattr(self, measure)[row]) for measure in MEASURES}
            for row, name in enumerate(self.sources)
        }


def bss_eval(
    references: Mapping[str, Audio | ArrayLike],
    estimates: Mapping[str, Audio | ArrayLike],
    *,
    sample_rate: int | None = None,
    window_s: float = 1.0,
    hop_s: float = 1.0,
    filter_length: int = 512,
    version: str = "images",
) -> BssEvalResult:
    """Return SDR, ISR, SIR and SAR by source and window: BSS Eval v4.

    The scores are those of ``museval.evaluate`` 0.4.1 (version ``images``), and of its ``metrics.bss_eval`` with
    ``bsseval_sources_version=True`` (version ``sources``). Sources are matched by name, and never permuted. Where
    the two part:

    - Silence. museval and this leave a window out (NaN for every source and measure) as soon as one source of the
      references or the estimates is silent in it. Here silent means that every sample is zero; there, that the channels
      add up to zero at every sample, so that a source with opposite channels is left out too. museval refuses a song
      with a source that is silent throughout; here such a song has NaN everywhere: take that source out of both sides
      to score the others.
    - Perfection. What is less than -200 dB of the target counts as nothing here (plus infinity), museval prints its
      rounding: some value above 200 dB.
    - Lengths that differ are refused, museval pads or cuts the estimate.
    - Empty bands. Where no reference has energy in a band (music whose codec cut the highest octave), the
      filters there hang on rounding, and SIR and SAR with them: up to about 0.01 dB between the two, and 0.006 dB
      between museval and itself with the stems in another order. Stems of 16 bit have no such band: below 1e-6 dB.

    Memory beyond the signals does not grow with their length: mainly a matrix of ``(n_sources * n_channels *
    filter_length) ** 2`` numbers, 134 MB for four stereo sources.

    Parameters
    ----------
    references, estimates : mapping of str to Audio or array of shape (n_samples,) or (n_samples, n_channels)
        The true and the separated signal of each source; all of one shape. They are read in place.
    sample_rate : int, optional
        In Hz; needed for arrays, and known from `Audio`.
    window_s, hop_s : float
        Length of a window and from one window to the next, in seconds. What is left at the end is not scored. A window
        longer than the signals, such as infinity, is the whole signals.
    filter_length : int
        Taps of the distortion filters.
    version : {"images", "sources"}
        What the true source is: as it stands in the mix, or up to a filter.

    Raises
    ------
    InputError
        As for `snr_db`; sources that only one side has; no sample rate, or another one than that of the signals; an
        unknown version.

    Examples
    --------
    >>> drums, voice = np.random.default_rng(0).standard_normal((2, 4000))
    >>> stems = {"drums": drums, "vocals": voice}
    >>> leaky = {"drums": drums + 0.1 * voice, "vocals": voice}
    >>> scores = bss_eval(stems, leaky, sample_rate=1000, filter_length=8).medians()
    >>> round(scores["drums"]["sdr_db"]), scores["vocals"]["sdr_db"]
    (20, inf)
    """
    check_filter_length(filter_length)
    if version not in VERSIONS:
        raise InputError("unknown version of BSS Eval", expected=" or ".join(VERSIONS), found=repr(version))
    true, guess = _sources(references, estimates)
    rate = one_rate([*references.values(), *estimates.values()], sample_rate)
    windows = frames(len(true[0]), rate=rate, window_s=window_s, hop_s=hop_s)
    scores = np.full((len(MEASURES), len(true), len(windows)), np.nan)
    sounding = [number for number, window in enumerate(windows) if _all_sound([*true, *guess], window)]
    if sounding:
        filters = _distortion_filters(true, guess, filter_length=filter_length)
        projector = Projector(filters, n_samples=windows[0].stop - windows[0].start)
        for number in sounding:
            here, heard = ([source[windows[number]] for source in side] for side in (true, guess))
            scores[:, :, number] = _window_scores(here, heard, projector, version=version)
    starts_s = np.array([window.start for window in windows]) / rate
    return BssEvalResult(tuple(references), starts_s, *scores)


def median_over_tracks(tracks: Iterable[BssEvalResult]) -> dict[str, dict[str, float]]:
    """Return the median over songs of the medians over windows, by source and measure.

    That is the figure of the separation campaigns (SiSEC 2018 and what compares with it). Songs without a score of a
    source, NaN, are left out of its median.

    Parameters
    ----------
    tracks : iterable of BssEvalResult
        One for each song, all with the same sources.

    Raises
    ------
    InputError
        No songs; songs whose sources differ.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> songs = [{"drums": rng.standard_normal(2000)} for _ in range(3)]
    >>> halved = [bss_eval(song, {"drums": song["drums"] / 2}, sample_rate=1000, filter_length=8) for song in songs]
    >>> round(median_over_tracks(halved)["drums"]["sdr_db"], 2)
    6.02
    """
    medians = [track.medians() for track in tracks]
    if not medians:
        raise InputError("no songs to take a median over", expected="at least one result")
    for number, song in enumerate(medians):
        if set(song) != set(medians[0]):
            raise InputError(
                "songs differ in their sources",
                where=f"song {number + 1}",
                expected=", ".join(medians[0]),
                found=", ".join(song),
            )
    return {
        source: {measure: _median(np.array([song[source][measure] for song in medians])) for measure in MEASURES}
        for source in medians[0]
    }


def _distortion_filters(
    true: list[NDArray[np.floating]], guess: list[NDArray[np.floating]], *, filter_length: int
) -> NDArray[np.float64]:
    """Return the filters from all references to each estimate and, behind them, from its own reference alone.

    The shape is (n, filter_length, 2 n), n being the channels of all sources.
    """
    n, n_channels = len(true) * true[0].shape[1], true[0].shape[1]
    lags = correlations(true, [*true, *guess], n_lags=filter_length)
    filters = np.zeros((n, filter_length, 2 * n))
    filters[:, :, :n] = solve_filters(lags[:, :n], lags[:, n:])
    for first in range(0, n, n_channels):
        mine, its_estimate = slice(first, first + n_channels), slice(n + first, n + first + n_channels)
        filters[mine, :, its_estimate] = solve_filters(lags[mine, mine], lags[mine, its_estimate])
    return filters


def _window_scores(
    true: list[NDArray[np.floating]], guess: list[NDArray[np.floating]], projector: Projector, *, version: str
) -> NDArray[np.float64]:
    """Return the measures (4, n_sources) of one window."""
    n_sources, n_channels = len(true), true[0].shape[1]
    sums = np.zeros((n_sources, 8))
    for start, projected in projector.project(true):
        for i in range(n_sources):
            every = projected[i * n_channels : (i + 1) * n_channels]
            own = projected[(n_sources + i) * n_channels : (n_sources + i + 1) * n_channels]
            sums[i] += _energies(true[i][start:], guess[i][start:], own, every)
    return np.array([_ratios(row, version=version) for row in sums]).T


def _energies(
    true: NDArray[np.floating], guess: NDArray[np.floating], own: NDArray[np.float64], every: NDArray[np.float64]
) -> list[float]:
    """Return the energies that the measures are made of, in one block; r and e end before the filters' tail does."""
    r, e = np.zeros(own.shape), np.zeros(own.shape)
    heard = min(len(true), own.shape[1])
    r[:, :heard], e[:, :heard] = true[:heard].T, guess[:heard].T
    return [energy(part) for part in (r, e - r, own - r, own, every - own, every, e - every, e - own)]


def _ratios(sums: NDArray[np.float64], *, version: str) -> list[float]:
    r, wrong, filtering, own, interference, every, artefacts, unfiltered = sums.tolist()
    if version == "sources":
        first = [projected_ratio_db(own, unfiltered), float("nan")]
    else:
        first = [energy_ratio_db(r, wrong), projected_ratio_db(r, filtering)]
    return [*first, projected_ratio_db(own, interference), projected_ratio_db(every, artefacts)]


def _sources(
    references: Mapping[str, Audio | ArrayLike], estimates: Mapping[str, Audio | ArrayLike]
) -> tuple[list[NDArray[np.floating]], list[NDArray[np.floating]]]:
    """Return both sides as lists of (n_samples, n_channels), matched by name."""
    if not references or set(references) != set(estimates):
        raise InputError(
            "references and estimates are not of the same sources",
            expected=", ".join(references) or "at least one source",
            found=", ".join(estimates) or "none",
        )
    pairs = [checked_pair(references[name], estimates[name]) for name in references]
    shapes = {str(true.shape) for true, _ in pairs}
    if len(shapes) > 1:
        raise InputError("sources differ in shape", expected="one shape", found=" and ".join(sorted(shapes)))
    true, guess = ([pair[side] for pair in pairs] for side in (0, 1))
    return true, guess


def _all_sound(sources: list[NDArray[np.floating]], window: slice) -> bool:
    return all(source[window].any() for source in sources)


def _median(values: NDArray[np.float64]) -> float:
    defined = values[~np.isnan(values)]
    return float(np.median(defined)) if len(defined) else float("nan")
