"""The chains on the demo's song score what was measured with pyclarity 0.9.0 on the same separation (vocals, left ear).

Those figures have three decimals; 0.002 leaves room for their rounding and for the noise inside HAAQI (below 2e-4).
"""

import numpy as np
import pytest

from cadenza_remix.audio.io import load_audio, load_stems
from cadenza_remix.audio.resample import resample_samples
from cadenza_remix.audio.signal import Audio
from cadenza_remix.challenge.scoring import mixture_as_stems
from cadenza_remix.challenge.seeding import song_rng
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.metrics import compute_haaqi
from cadenza_remix.remix import Chain, chain_from, enhance_stems, load_chain
from cadenza_remix.separation.loading import load_separator
from cadenza_remix.units import db_spl_of_full_scale, rms

TOLERANCE = 0.002
E016_ON_STEMS = chain_from({**load_chain("e016").to_dict(), "band_pass_stems": True}, name="e016 on the stems")
MEASURED = {
    # listener: clean + NAL-R, baseline, e016, e016 with its band-pass on the stems, no NAL-R
    "N2": (0.929, 0.195, 0.195, 0.191, 0.125),
    "N4": (0.992, 0.216, 0.167, 0.166, 0.066),
    "S2": (0.900, 0.202, 0.160, 0.151, 0.116),
}


@pytest.fixture(scope="module")
def signals(song):
    mixture = load_audio(song.path)
    clean = load_stems(song.path)
    vocals = load_separator("spleeter:2stems").separate(mixture)["vocals"]
    silence = Audio(np.zeros((mixture.n_samples, 2)), mixture.sample_rate)
    return mixture, clean["vocals"], vocals, silence


def left_vocals(vocals, silence, listener, chain):
    stems = {"vocals": vocals, "drums": silence, "bass": silence, "other": silence}
    return enhance_stems(stems, listener, chain).stems["left_vocals"].samples[:, 0]


@pytest.mark.parametrize("name", MEASURED)
def test_chains_score_what_was_measured(signals, song, name):
    _, clean, estimate, silence = signals
    listener = load_listeners("bisgaard")[name]
    reference = resample_samples(clean.samples[:, 0], 44100, 24000)
    level1 = db_spl_of_full_scale(rms(clean.samples[:, 0]))
    baseline = load_chain("baseline")
    processed = [
        left_vocals(clean, silence, listener, baseline),
        *(
            left_vocals(estimate, silence, listener, chain)
            for chain in (baseline, load_chain("e016"), E016_ON_STEMS, Chain())
        ),
    ]
    scores = [
        compute_haaqi(samples, reference, 24000, 24000, listener.left, 1, level1, rng=song_rng(song.name))
        for samples in processed
    ]
    np.testing.assert_allclose(scores, MEASURED[name], atol=TOLERANCE)


def test_the_unprocessed_mixture_is_the_same_for_every_stem(signals):
    mixture, *_ = signals
    stems = mixture_as_stems(mixture)
    np.testing.assert_array_equal(stems["left_vocals"].samples, stems["left_bass"].samples)
    assert not np.array_equal(stems["left_vocals"].samples, stems["right_vocals"].samples)
