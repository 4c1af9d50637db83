"""What only the clean stems can tell of an entry: stems that are another signal than their name says.

Nothing here judges how good a separation is: a fault is told only where an honest entry, however poor, would not come
out so. All comparisons are made in the short-time spectra of one excerpt of a song, the one in which all stems sound
most, and through a filter that is fitted (see :mod:`cadenza_remix.challenge.checks.spectra`), so that neither NAL-R nor
gain, polarity or a constant delay matters.

=============  ====================================================================================================
kind           what it says
=============  ====================================================================================================
silent         a stem is silent where its reference is not, wholly or in most of what is loud
is_mixture     a stem is the unprocessed mixture, or the mixture with gain, NAL-R or slow compression
sides_swapped  left and right are swapped (told only where the sides of the references differ)
stems_swapped  stems are exchanged with one another
level          a stem is far louder than its reference with NAL-R, or far quieter than that without
scale_lost     every stem reaches full scale with one and the same scale: their levels are gone
delayed        stems come more than 100 ms too late or too early
other_song     the stems have nothing in common with the references: another song, another segment
=============  ====================================================================================================
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from cadenza_remix.audio.signal import EARS, STEM_SAMPLE_RATE, STEMS, Audio
from cadenza_remix.challenge.checks.files import CheckedPair, Fault
from cadenza_remix.challenge.checks.song_reference import PlausibilityReference
from cadenza_remix.challenge.checks.spectra import energy_of, nalr_gains, share_of, spectra_of, unevenness_db
from cadenza_remix.challenge.naming import channel_name, pair_folder, stem_path
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.units import energy_ratio_db, rms

SOUND_KINDS = (
    "silent", "is_mixture", "sides_swapped", "stems_swapped", "level", "scale_lost", "delayed", "other_song"
)  # fmt: skip
"""Faults of what is heard, not of form: files that have them can be scored all the same."""

MAX_DELAY_S = 0.1
MAX_LOUDER_DB, MAX_QUIETER_DB = 25.0, 40.0

_BLOCK = STEM_SAMPLE_RATE // 10  # for silence
_SEARCHED_DELAY_S = 1.0
_MIXTURE_SHARE = 0.985  # 18 dB above the rest: no separation that took anything away
_FLATNESS_DB = 12.0
_LOST_DB = 6.0


def implausible(pair: Pair, checked: CheckedPair, reference: PlausibilityReference, listener: Listener) -> list[Fault]:
    """Return what is implausible about a pair, its stems compared with those of the song.

    Parameters
    ----------
    pair : Pair
    checked : CheckedPair
        Stems that are missing from it are not looked at.
    reference : PlausibilityReference
        Of this song and of the passage that the entry holds.
    listener : Listener
        Whose NAL-R the levels are compared with.
    """
    faults, sounding = _silence_faults(pair, checked.stems, reference)
    if not sounding or not reference.is_comparable:
        return faults
    path = pair_folder("", pair.listener, pair.song).as_posix()
    delay = _delay(sounding, reference)
    if abs(delay) > MAX_DELAY_S * STEM_SAMPLE_RATE:
        word = "late" if delay > 0 else "early"
        found = f"{abs(delay) / STEM_SAMPLE_RATE:.3f} s too {word}"
        faults.append(Fault(path, "stems are delayed", f"at most {MAX_DELAY_S:g} s", found, "delayed"))
    views = _views(sounding, reference, listener, delay)
    if not views:
        return faults
    best_share = max(float(view.shares.max()) for view in views.values())
    if best_share < 0.1:
        found = f"at most {best_share:.0%} of a stem in common with them"
        return [*faults, Fault(path, "stems do not belong to the references", "this song", found, "other_song")]
    mixtures = _mixture_faults(pair, views)
    if not mixtures:  # of a mixture, sides and names cannot be told
        faults += _sides_faults(pair, path, views) + _exchange_faults(pair, views)
    lost = _scale_lost_faults(path, checked, views)
    return faults + mixtures + (lost or _level_faults(pair, views))


@dataclass(frozen=True, eq=False)
class _View:
    """One stem at one ear beside the references, in the excerpt.

    ``shares``: of the references of the same ear (mixture, then the stems in the order of STEMS); ``own``: of its own
    reference; ``opposite``: of that at the other ear; ``by_mixture``, ``by_own``: the same with a gain that may change
    from frame to frame; ``unevenness_db``: of the filter that makes it from the mixture; ``level_db``: above the
    reference with NAL-R, whose energy is ``target_db``; ``gain_db``: above the reference without; ``twin_share``: what
    the references of both ears share;
    ``reference_is_heard``: it holds more than -30 dB of the mixture's energy.
    """

    shares: NDArray[np.float64]
    own: float
    opposite: float
    by_mixture: float
    by_own: float
    unevenness_db: float
    level_db: float
    gain_db: float
    target_db: float
    twin_share: float
    reference_is_heard: bool


def _views(
    stems: Mapping[str, NDArray[np.float32]], reference: PlausibilityReference, listener: Listener, delay: int
) -> dict[str, _View]:
    """Return the views of the stems that are not silent in the excerpt, by channel."""
    views = {}
    for (ear_index, ear), (stem_index, stem) in itertools.product(enumerate(EARS), enumerate(STEMS, start=1)):
        channel = channel_name(ear, stem)
        if channel not in stems:
            continue
        spectra = spectra_of(_cut(stems[channel], reference.start + delay, reference.mono.size))
        energy = energy_of(spectra)
        if energy == 0:
            continue
        of_ear, of_other = reference.spectra[ear_index], reference.spectra[1 - ear_index]
        gains = nalr_gains(listener.ear(ear))
        target_energy = energy_of(of_ear[stem_index] * gains)
        shares = np.array([share_of(signal, spectra) for signal in of_ear])
        views[channel] = _View(
            shares=shares,
            own=float(shares[stem_index]),
            opposite=share_of(of_other[stem_index], spectra),
            by_mixture=share_of(of_ear[0], spectra, gain_may_change=True),
            by_own=share_of(of_ear[stem_index], spectra, gain_may_change=True),
            unevenness_db=unevenness_db(of_ear[0], spectra, gains),
            level_db=energy_ratio_db(energy, target_energy),
            gain_db=energy_ratio_db(energy, energy_of(of_ear[stem_index])),
            target_db=energy_ratio_db(target_energy, 1.0),
            twin_share=share_of(of_ear[stem_index], of_other[stem_index]),
            reference_is_heard=energy_of(of_ear[stem_index]) > 1e-3 * energy_of(of_ear[0]),
        )
    return views


def _silence_faults(
    pair: Pair, stems: Mapping[str, Audio], reference: PlausibilityReference
) -> tuple[list[Fault], dict[str, NDArray[np.float32]]]:
    """Return the faults, and the samples of the stems that are not silent."""
    faults, sounding = [], {}
    for channel, audio in stems.items():
        samples, clean = audio.samples[:, 0], reference.stems[channel]
        n_blocks = min(samples.size, clean.size) // _BLOCK
        is_dead = ~np.any(samples[: n_blocks * _BLOCK].reshape(n_blocks, -1), axis=1)
        levels = np.sqrt(np.mean(np.square(clean[: n_blocks * _BLOCK].reshape(n_blocks, -1)), axis=1))
        level = rms(clean)
        is_loud = levels > 0.1 * level  # 20 dB below the whole
        if samples.any():
            sounding[channel] = samples
        if level <= 1e-3 * reference.mixture_rms or level < 1e-5 or not is_loud.any():
            continue
        share = float(is_dead[is_loud].mean())
        if share > 0.5:
            path = _path(pair, channel)
            found = "no sound at all" if not samples.any() else f"silence in {share:.0%} of what is loud"
            faults.append(Fault(path, "is silent where the reference is not", found=found, kind="silent"))
    return faults, sounding


def _mixture_faults(pair: Pair, views: Mapping[str, _View]) -> list[Fault]:
    faults = []
    for channel, view in views.items():
        # Where a stem is nearly alone it is the mixture, and may be; where it is silent, what is left may be a trace.
        is_mixture = view.by_mixture > max(_MIXTURE_SHARE, view.by_own + 0.05) and view.unevenness_db < _FLATNESS_DB
        if is_mixture and view.reference_is_heard:
            found = f"{view.by_mixture:.1%} of it in the mixture, {view.by_own:.1%} in its own reference"
            faults.append(Fault(_path(pair, channel), "is the mixture", "a separated stem", found, "is_mixture"))
    return faults


def _sides_faults(pair: Pair, path: str, views: Mapping[str, _View]) -> list[Fault]:
    """Return the stems whose sides are swapped; one fault where they all are, as far as that can be told."""
    sides = {}
    for stem in STEMS:
        left, right = views.get(channel_name("left", stem)), views.get(channel_name("right", stem))
        if left is not None and right is not None:
            sides[stem] = _is_swapped(left, right)
    swapped = [stem for stem, is_swapped in sides.items() if is_swapped]
    expected = "left before right"
    if swapped and False not in sides.values():
        found = f"{', '.join(swapped)} exchanged"
        return [Fault(path, "left and right are swapped", expected, found, "sides_swapped")]
    return [
        Fault(_path(pair, f"left_{stem}"), "left and right are swapped", expected, "the other ear", "sides_swapped")
        for stem in swapped
    ]


def _is_swapped(left: _View, right: _View) -> bool | None:
    """Tell whether the sides of a stem are exchanged; None where its references do not tell."""
    gains = [view.opposite - view.own for view in (left, right)]
    if min(gains) > 0.05 and sum(gains) > 0.15:
        return True
    if max(gains) < -0.05:
        return False
    target_db = left.target_db - right.target_db
    sides_db = target_db + left.level_db - right.level_db
    # A source that was only panned has one shape on both sides: its levels tell.
    if left.twin_share < 0.9 or min(left.own, right.own) < 0.5 or abs(target_db) < 6 or abs(sides_db) < 3:
        return None
    return sides_db * target_db < 0


def _exchange_faults(pair: Pair, views: Mapping[str, _View]) -> list[Fault]:
    """Return the stems that stand under one another's names: each fits another's reference, and none is left over."""
    faults = []
    for ear in EARS:
        shares = {stem: views[channel_name(ear, stem)].shares for stem in STEMS if channel_name(ear, stem) in views}
        column = {stem: index for index, stem in enumerate(STEMS, start=1)}
        fits = [
            (sum(shares[stem][column[other]] for stem, other in zip(shares, order, strict=True)), order)
            for order in itertools.permutations(shares)
        ]
        _, best = max(fits, key=lambda fit: fit[0])
        moved = [(stem, other) for stem, other in zip(shares, best, strict=True) if stem != other]
        if all(shares[stem][column[other]] - shares[stem][column[stem]] > 0.25 for stem, other in moved):
            faults += [
                Fault(_path(pair, channel_name(ear, stem)), "holds another stem", stem, other, "stems_swapped")
                for stem, other in moved
            ]
    return faults


def _level_faults(pair: Pair, views: Mapping[str, _View]) -> list[Fault]:
    faults = []
    for channel, view in views.items():
        # A poor estimate may have any level; what is mostly the stem has not. An entry may do without NAL-R.
        if view.own > 0.5 and (view.level_db > MAX_LOUDER_DB or view.gain_db < -MAX_QUIETER_DB):
            expected = (
                f"at most {MAX_LOUDER_DB:.0f} dB above the reference with NAL-R, {MAX_QUIETER_DB:.0f} below it without"
            )
            found = f"{view.level_db:+.0f} dB, {view.gain_db:+.0f} dB"
            faults.append(Fault(_path(pair, channel), "level is far off", expected, found, "level"))
    return faults


def _scale_lost_faults(path: str, checked: CheckedPair, views: Mapping[str, _View]) -> list[Fault]:
    """Tell stems that were scaled to their peaks and whose scales were not kept."""
    scales = {checked.scales[channel] for channel in views}
    if len(views) < 4 or len(scales) > 1 or min(checked.peaks[channel] for channel in views) < 0.999:
        return []
    levels_db = [view.level_db for view in views.values() if view.reference_is_heard]
    if max(levels_db, default=0.0) < _LOST_DB and min(levels_db, default=0.0) > -_LOST_DB:
        return []
    found = f"{scales.pop():g} beside each of {len(views)} stems at full scale"
    return [Fault(path, "scale looks lost", "each stem's own peak", found, "scale_lost")]


def _delay(stems: Mapping[str, NDArray[np.float32]], reference: PlausibilityReference) -> int:
    """Return by how many samples the stems come after the references; 0 unless another delay fits clearly better."""
    n_samples, most = reference.mono.size, int(_SEARCHED_DELAY_S * STEM_SAMPLE_RATE)
    heard = np.zeros(n_samples + 2 * most, dtype=np.float32)
    for samples in stems.values():
        heard += _cut(samples, reference.start - most, heard.size)
    n_fft = fft.next_fast_len(heard.size, real=True)
    product = fft.rfft(heard, n_fft) * fft.rfft(reference.mono, n_fft).conj()
    fits = np.abs(fft.irfft(product, n_fft)[: 2 * most + 1])
    best = int(fits.argmax())
    return best - most if fits[best] > 1.3 * fits[most] else 0


def _cut(samples: NDArray[np.float32], start: int, n_samples: int) -> NDArray[np.float32]:
    """Return samples from ``start`` on, zeros where there are none."""
    inside = samples[max(start, 0) : max(start + n_samples, 0)]
    before = min(max(-start, 0), n_samples)
    return np.pad(inside, (before, max(0, n_samples - before - inside.size)))[:n_samples]


def _path(pair: Pair, channel: str) -> str:
    ear, stem = channel.split("_")
    return stem_path("", pair.listener, pair.song, ear, stem).as_posix()
