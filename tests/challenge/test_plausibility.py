"""Honest entries, however poor, raise no alarm; and each fault is found down to where it can be told."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cadenza_remix.audio.io import load_audio, load_stems
from cadenza_remix.audio.signal import EARS, STEMS, Audio
from cadenza_remix.challenge.checks.files import CheckedPair
from cadenza_remix.challenge.checks.plausibility import implausible
from cadenza_remix.challenge.checks.song_reference import prepare_reference
from cadenza_remix.challenge.checks.spectra import share_of, spectra_of
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.remix import enhance_stems, load_chain
from cadenza_remix.separation.loading import load_separator
from cadenza_remix.separation.stems import to_vdbo

PAIR = Pair("Song", "L1")
BISGAARD = ("N1", "N3", "N5", "N7", "S1", "S3")


@pytest.fixture(scope="module")
def clean(song):
    return load_stems(song.path)


@pytest.fixture(scope="module")
def mixture(song):
    return load_audio(song.path)


@pytest.fixture(scope="module")
def reference(clean, mixture):
    return prepare_reference(clean, mixture)


@pytest.fixture(scope="module")
def separations(clean, mixture):
    """Honest entries from good to useless, all of them VDBO."""
    separated = to_vdbo(load_separator("spleeter:2stems+hpss").separate(mixture))
    mono = {
        stem: Audio(np.repeat(a.samples.mean(axis=1, keepdims=True), 2, axis=1), 44100) for stem, a in separated.items()
    }
    rest = mixture.samples - separated["vocals"].samples
    thirds = {stem: separated["vocals"] if stem == "vocals" else Audio(rest / 3, 44100) for stem in STEMS}
    leaky = {stem: Audio(0.5 * a.samples + 0.5 * mixture.samples, 44100) for stem, a in clean.items()}
    return {
        "clean stems": clean,
        "2stems and HPSS": separated,
        "the same in mono": mono,
        "accompaniment in three equal parts": thirds,
        "stems with the mixture at half its level": leaky,
        "stems 25 ms late": {s: Audio(np.roll(a.samples, 1102, axis=0), 44100) for s, a in clean.items()},
        "stems of inverted polarity at -20 dB": {s: Audio(-0.1 * a.samples, 44100) for s, a in separated.items()},
    }


def checked(stems) -> CheckedPair:
    """Return stems as if they had been read from files of 16 bit scaled to their peaks."""
    peaks = {channel: float(np.abs(audio.samples).max()) or 1.0 for channel, audio in stems.items()}
    rounded = {c: Audio(np.rint(a.samples / peaks[c] * 32767) / 32767 * peaks[c], 24000) for c, a in stems.items()}
    return CheckedPair((), rounded, peaks, dict.fromkeys(peaks, 1.0))


def enhanced(stems, name: str, chain: str):
    listener = load_listeners("bisgaard")[name]
    return checked(enhance_stems(stems, listener, load_chain(chain)).stems), listener


def kinds(stems, reference, *, name: str = "N3", chain: str = "baseline"):
    pair, listener = enhanced(stems, name, chain)
    return {(fault.kind, fault.path.split("_", 2)[-1]) for fault in implausible(PAIR, pair, reference, listener)}


@pytest.mark.parametrize("chain", ["baseline", "e016"])
@pytest.mark.parametrize("name", BISGAARD)
def test_honest_entries_raise_no_alarm(separations, reference, name, chain):
    for what, stems in separations.items():
        pair, listener = enhanced(stems, name, chain)
        assert [str(f) for f in implausible(PAIR, pair, reference, listener)] == [], what


def test_entries_without_nalr_raise_no_alarm(separations, reference):
    for what, stems in separations.items():
        pair, _ = enhanced(stems, "N7", "baseline")
        plain = {f"{ear}_{s}": a.samples[:, i] for i, ear in enumerate(EARS) for s, a in stems.items()}
        import soxr

        pair = checked({c: Audio(soxr.resample(x, 44100, 24000), 24000) for c, x in plain.items()})
        assert implausible(PAIR, pair, reference, load_listeners("bisgaard")["N7"]) == [], what


@pytest.mark.parametrize("chain", ["baseline", "e016"])
@pytest.mark.parametrize("name", BISGAARD)
def test_the_mixture_is_known_behind_nalr_and_compressor(separations, mixture, reference, name, chain):
    stems = {**separations["2stems and HPSS"], "vocals": Audio(0.3 * mixture.samples, 44100)}
    assert kinds(stems, reference, name=name, chain=chain) == {
        ("is_mixture", "left_vocals.flac"),
        ("is_mixture", "right_vocals.flac"),
    }


def test_a_stem_that_is_alone_in_the_mixture_may_equal_it(clean):
    alone = {stem: a if stem == "vocals" else Audio(0 * a.samples, 44100) for stem, a in clean.items()}
    assert kinds(alone, prepare_reference(alone)) == set()


def test_a_trace_of_the_mixture_where_the_stem_is_silent_is_honest(clean, mixture):
    instrumental = {**clean, "vocals": Audio(0 * clean["vocals"].samples, 44100)}
    total = sum(audio.samples for audio in instrumental.values())
    trace = {**instrumental, "vocals": Audio(0.01 * total, 44100)}
    assert kinds(trace, prepare_reference(instrumental)) == set()


@pytest.mark.parametrize("what", ["clean stems", "2stems and HPSS", "stems 25 ms late"])
def test_sides_are_told_apart(separations, reference, what):
    stems = {stem: Audio(a.samples[:, ::-1], 44100) for stem, a in separations[what].items()}
    assert {kind for kind, _ in kinds(stems, reference)} == {"sides_swapped"}


def test_sides_of_a_song_in_mono_are_not_told_apart(clean):
    mono = {s: Audio(np.repeat(a.samples.mean(axis=1, keepdims=True), 2, axis=1), 44100) for s, a in clean.items()}
    assert kinds(mono, prepare_reference(mono)) == set()


def test_a_source_that_was_only_panned_shows_its_side_by_its_level(clean):
    panned = {stem: Audio(a.samples[:, :1] * np.array([1.0, 0.3]), 44100) for stem, a in clean.items()}
    reference = prepare_reference(panned)
    assert kinds(panned, reference) == set()
    swapped = {stem: Audio(a.samples[:, ::-1], 44100) for stem, a in panned.items()}
    assert {kind for kind, _ in kinds(swapped, reference)} == {"sides_swapped"}


def test_exchanged_stems_are_named(separations, reference):
    stems = dict(separations["2stems and HPSS"])
    stems["vocals"], stems["other"] = stems["other"], stems["vocals"]
    assert {kind for kind, _ in kinds(stems, reference)} == {"stems_swapped"}
    assert len(kinds(stems, reference)) == 4


def test_lost_scales_are_told_from_equal_peaks(separations, reference):
    pair, listener = enhanced(separations["2stems and HPSS"], "N3", "baseline")
    lost = {c: Audio(a.samples / pair.scales[c], 24000) for c, a in pair.stems.items()}
    lost_pair = CheckedPair((), lost, dict.fromkeys(lost, 1.0), dict.fromkeys(lost, 1.0))
    (fault,) = implausible(PAIR, lost_pair, reference, listener)
    assert fault.kind == "scale_lost"
    assert fault.path == "L1/Song"


def test_a_song_too_short_to_compare_is_only_asked_for_silence(clean):
    short = {stem: audio.excerpt(2.0, 2.5) for stem, audio in clean.items()}
    swapped = {
        **short,
        "vocals": short["drums"],
        "drums": short["vocals"],
        "bass": Audio(0 * short["bass"].samples, 44100),
    }
    assert {kind for kind, _ in kinds(swapped, prepare_reference(short))} == {"silent"}


def test_shares_have_their_closed_form():
    """A sum of two independent noises of equal energy shares half with each; a filter shares everything."""
    rng = np.random.default_rng(0)
    one, two = rng.standard_normal((2, 96000)).astype(np.float32)
    of_one, mixed = spectra_of(one), spectra_of(one + two)
    # The fit of each bin to 186 frames explains about 1/100 of unrelated noise.
    assert share_of(of_one, mixed) == pytest.approx(0.5, abs=0.02)
    assert share_of(of_one, spectra_of(two)) < 0.02
    filtered = np.convolve(one, [0.5, -0.3, 0.1])[:96000].astype(np.float32)
    assert share_of(of_one, spectra_of(-3 * filtered)) > 0.999
    assert share_of(of_one, 0 * mixed) == 0
    ramp = np.linspace(0.1, 1, 96000, dtype=np.float32)
    assert (
        share_of(of_one, spectra_of(ramp * one))
        < 0.95
        < 0.998
        < share_of(of_one, spectra_of(ramp * one), gain_may_change=True)
    )


def test_a_pair_costs_little(separations, reference):
    pair, listener = enhanced(separations["2stems and HPSS"], "N3", "baseline")
    costs = []
    for _ in range(3):
        start = time.process_time()
        implausible(PAIR, pair, reference, listener)
        costs.append(time.process_time() - start)
    # About 45 ms; the limit is for slower machines, and would still show a comparison of whole songs.
    assert min(costs) < 0.25
