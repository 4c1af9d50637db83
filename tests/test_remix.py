import numpy as np
import pytest

from cadenza_remix.audio.signal import EARS, STEMS, Audio
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Audiogram, Listener, load_listeners
from cadenza_remix.hearing.nalr import NalrSettings, nalr_fir
from cadenza_remix.remix import PRESETS, Chain, chain_from, enhance, enhance_stems, load_chain, soft_clip
from cadenza_remix.units import lin_to_db

RATE = 44100
NORMAL = Listener("normal", Audiogram([250, 8000], [0, 0]), Audiogram([250, 8000], [0, 0]))


def noise(seed, seconds=1.0, channels=2):
    return Audio(0.1 * np.random.default_rng(seed).standard_normal((int(seconds * RATE), channels)), RATE)


def stems(**lengths):
    return {stem: noise(i, lengths.get(stem, 1.0)) for i, stem in enumerate(STEMS)}


def band_energy(audio, low_hz, high_hz):
    spectrum = np.abs(np.fft.rfft(audio.samples[:, 0].astype(float))) ** 2
    frequencies = np.fft.rfftfreq(audio.n_samples, 1 / audio.sample_rate)
    return spectrum[(frequencies >= low_hz) & (frequencies < high_hz)].sum()


def test_nothing_switched_on_is_resampling_and_sum():
    given = stems()
    out = enhance_stems(given, NORMAL, Chain())
    assert sorted(out.stems) == sorted(f"{ear}_{stem}" for ear in EARS for stem in STEMS)
    assert {(a.sample_rate, a.n_channels, a.n_samples) for a in out.stems.values()} == {(24000, 1, 24000)}
    assert (out.remix.sample_rate, out.remix.n_channels, out.remix.n_samples) == (32000, 2, 32000)
    total = Audio(sum(s.samples for s in given.values()), RATE)
    for low, high in ((100, 1000), (1000, 8000)):
        ratio = band_energy(out.remix, low, high) * (44100 / 32000) ** 2 / band_energy(total, low, high)
        assert abs(lin_to_db(ratio) / 2) < 0.05


def test_left_ear_comes_from_the_left_channel_and_its_audiogram():
    left_only = {
        stem: Audio(np.stack([noise(i).samples[:, 0], np.zeros(RATE)], axis=1), RATE) for i, stem in enumerate(STEMS)
    }
    out = enhance_stems(left_only, load_listeners("cad1-sample")["L5040"], load_chain("baseline"))
    assert all(np.abs(out.stems[f"right_{stem}"].samples).max() == 0 for stem in STEMS)
    assert all(np.abs(out.stems[f"left_{stem}"].samples).max() > 0 for stem in STEMS)
    assert np.abs(out.remix.samples[:, 1]).max() < 1e-9


def test_nalr_is_applied_and_not_thrown_away():
    # The published notebook of E016 computed NAL-R and went on with the unfiltered signal.
    listener = load_listeners("cad1-sample")["L5040"]
    plain = enhance_stems(stems(), listener, Chain())
    aided = enhance_stems(stems(), listener, Chain(nalr=NalrSettings()))
    expected = nalr_fir(listener.left, sample_rate=RATE)
    for low, high in ((900, 1100), (3800, 4200)):
        gain_db = (
            lin_to_db(
                band_energy(aided.stems["left_vocals"], low, high) / band_energy(plain.stems["left_vocals"], low, high)
            )
            / 2
        )
        centre = (low + high) / 2
        prescribed = np.abs(np.sum(expected * np.exp(-2j * np.pi * centre / RATE * np.arange(expected.size))))
        assert abs(gain_db - lin_to_db(prescribed)) < 1.5  # over a band of 200 Hz the filter is not flat


def test_remix_is_the_sum_of_the_aided_stems_then_the_band_pass():
    listener = load_listeners("cad1-sample")["L5076"]
    chain = chain_from({"nalr": True, "band_pass": True}, name="x")
    given = stems()
    out = enhance_stems(given, listener, chain)
    without = enhance_stems(given, listener, Chain(nalr=NalrSettings()))
    # The band-pass takes the bass from the remix and leaves the stems alone.
    assert lin_to_db(band_energy(out.remix, 20, 100) / band_energy(without.remix, 20, 100)) / 2 < -20
    assert abs(lin_to_db(band_energy(out.remix, 900, 1100) / band_energy(without.remix, 900, 1100)) / 2) < 0.1
    for name in out.stems:
        np.testing.assert_array_equal(out.stems[name].samples, without.stems[name].samples)
    both = enhance_stems(
        given, listener, chain_from({"nalr": True, "band_pass": True, "band_pass_stems": True}, name="x")
    )
    assert (
        lin_to_db(band_energy(both.stems["left_bass"], 20, 100) / band_energy(out.stems["left_bass"], 20, 100)) / 2
        < -20
    )


def test_gains():
    plain = enhance_stems(stems(), NORMAL, Chain())
    louder = enhance_stems(stems(), NORMAL, Chain(gains_db={"vocals": 6.0}))
    np.testing.assert_allclose(
        louder.stems["left_vocals"].samples, plain.stems["left_vocals"].samples * 10**0.3, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(louder.stems["left_drums"].samples, plain.stems["left_drums"].samples)


def test_shorter_stems_are_padded():
    out = enhance_stems(stems(drums=0.5), NORMAL, Chain())
    assert out.stems["left_drums"].n_samples == out.stems["left_vocals"].n_samples
    assert np.abs(out.stems["left_drums"].samples[12500:]).max() < 1e-6


def test_presets_are_what_their_names_say():
    baseline, e016 = (load_chain(name) for name in PRESETS)
    assert (baseline.compressor, baseline.band_pass) == (None, None)
    assert baseline.nalr.order == 220
    assert (e016.band_pass.low_hz, e016.band_pass.high_hz) == (250, 18500)
    assert e016.compressor.threshold_lin == 0.35
    assert not e016.band_pass_stems


def test_soft_clip_is_tanh():
    np.testing.assert_allclose(soft_clip(np.array([0.0, 1.0, -50.0])), [0.0, np.tanh(1.0), -1.0])


def test_enhance_on_a_mixture_needs_a_separator():
    with pytest.raises(InputError, match="needs a separator"):
        enhance(noise(0), NORMAL)
    assert enhance(stems(), NORMAL, chain="baseline").remix.n_samples == 32000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nalr: {ordr: 220}", "unknown key 'ordr'"),
        ("nalr: {order: 221}", "even number"),
        ("nal_r: true", "did you mean 'nalr'"),
        ("nalr: 5", "true, false or a mapping"),
        ("gains_db: {voice: 3}", "unknown stem 'voice'"),
        ("gains_db: {vocals: loud}", "a number of dB"),
        ("gains_db: 3", "mapping stem: dB"),
        ("band_pass: {low_hz: 500, high_hz: 100}", "low_hz < high_hz"),
        ("band_pass_stems: true", "expected a band_pass part"),
        ("[1, 2]", "expected a mapping"),
        ("a: [", "is not YAML"),
        ("", "expected a mapping"),
    ],
)
def test_faults_of_a_chain_file_are_named(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_chain(path)
    assert words in str(caught.value)
    assert "mine.yaml" in str(caught.value)


def test_unknown_and_missing_chains():
    with pytest.raises(InputError, match=r"expected one of baseline, e016, FILE\.yaml"):
        load_chain("e017")
    with pytest.raises(InputError, match="is missing"):
        load_chain("none.yaml")


def test_band_pass_above_nyquist_is_an_error():
    low_rate = {stem: Audio(np.zeros((100, 2)), 22050) for stem in STEMS}
    with pytest.raises(InputError, match="Nyquist"):
        enhance_stems(low_rate, NORMAL, load_chain("e016"))
