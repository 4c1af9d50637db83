"""What the band plays: on the beat, in the key, low where it is a bass, and in the form that was planned."""

import numpy as np
import pytest

from cadenza_remix.training.synth import mixing
from cadenza_remix.training.synth.accompaniment import play_others
from cadenza_remix.training.synth.bass import play_bass
from cadenza_remix.training.synth.drumkit import PIECES, random_kit
from cadenza_remix.training.synth.drums import play_drums
from cadenza_remix.training.synth.effects import impulse_response, limiter_gain
from cadenza_remix.training.synth.melody import add_voices, sing_lead
from cadenza_remix.training.synth.notes import Hit, Note
from cadenza_remix.training.synth.patches import Patch, random_patch, tone
from cadenza_remix.training.synth.playing import play_hits, play_notes
from cadenza_remix.training.synth.samples import open_samples, sampled_kit
from cadenza_remix.training.synth.song import random_plan
from cadenza_remix.training.synth.theory import Key

RATE = 44100
BASS_KINDS = (
    "plucked",
    "picked",
    "soft",
    "slap",
    "driven",
    "saw",
    "square",
    "fm",
    "sub",
    "reese",
    "pluck-synth",
    "808",
)


def rng(*seed):
    return np.random.default_rng(seed)


def plans(n, length_s=(40.0, 80.0)):
    return [random_plan(rng(7, index), song_length_s=length_s) for index in range(n)]


def test_chords_of_a_key_are_its_own():
    assert Key(0, "major").chord(0).pitch_classes == (0, 4, 7)
    assert Key(9, "minor").chord(0).pitch_classes == (9, 0, 4)
    assert Key(2, "major").chord(4, 4).pitch_classes == (9, 1, 4, 7)
    assert Key(0, "major").chord(0).voicing(60, 3) == (55, 60, 64)


def test_plans_keep_to_their_duration_and_sections_to_their_bars():
    for plan in plans(60):
        bar_s = plan.beats_per_bar * 60 / plan.tempo_bpm
        assert 40 - bar_s < plan.duration_s < 80 + bar_s
        first_bars = [section.first_bar for section in plan.sections]
        assert first_bars == [sum(s.n_bars for s in plan.sections[:index]) for index in range(len(first_bars))]
        assert sum(section.n_bars for section in plan.sections) == plan.n_bars


def test_plans_differ_in_style_key_and_tempo():
    made = plans(60)
    assert len({plan.genre.name for plan in made}) >= 8
    assert len({plan.key for plan in made}) >= 20
    assert len({plan.tempo_bpm for plan in made}) >= 30


def test_swing_moves_the_offbeats_and_leaves_the_beats():
    plan = next(plan for plan in plans(80) if plan.swing > 0.1 and plan.genre.swing_steps == 1)
    straight = [plan.lead_in_s + step * plan.step_s for step in range(8)]
    late = np.array([plan.time_s(step) for step in range(8)]) - straight
    np.testing.assert_allclose(late[::2], 0, atol=1e-9)
    np.testing.assert_allclose(late[1::2], plan.swing * plan.step_s, atol=1e-9)


def test_everybody_plays_in_most_songs():
    for plan in plans(12):
        drums = play_drums(plan, rng(1))
        bass = play_bass(plan, drums, rng(2))
        others = play_others(plan, rng(3))
        lead = sing_lead(plan, (48, 67), rng(4))
        assert len(drums.hits) > 20
        assert len(bass) > 5
        assert 2 <= len(others) <= 5
        assert sum(len(part.notes) for part in others) > 5
        assert len(lead.notes) > 5
        sung = sum(note.duration_s for note in lead.notes) / plan.duration_s
        assert sung < 0.9  # there is always a rest somewhere
        assert all(48 <= note.midi_pitch <= 68 for note in lead.notes)
        for line in (lead, *add_voices(plan, lead, rng(5))):
            starts = [note.start_s for note in line.notes]
            assert np.all(np.diff(starts) > 0.01)


def test_drum_strokes_stand_on_the_grid():
    for plan in plans(10):
        grid = np.array([plan.time_s(step) for step in range(plan.n_bars * plan.steps_per_bar + 1)])
        times = np.array([hit.start_s for hit in play_drums(plan, rng(1)).hits])
        distance = np.abs(times[:, np.newaxis] - grid).min(axis=1)
        assert np.percentile(distance, 95) < 0.001 + 3 * plan.genre.timing_ms / 1000


def test_drums_sound_on_the_beat_grid():
    plan = next(plan for plan in plans(40, (12.0, 16.0)) if plan.genre.name == "electronic")
    hits = play_drums(plan, rng(1)).hits
    n_samples = int(plan.duration_s * RATE)
    pieces = play_hits(hits, random_kit(rng(2), is_synthetic=True), n_samples, rng(3))
    drums = sum(pieces.values())
    hop = 441
    clicks = np.diff(drums, n=2)  # without the kick drum's slow swinging
    energy = np.square(clicks[: len(clicks) // hop * hop]).reshape(-1, hop).sum(axis=1)
    rises = np.maximum(np.diff(energy), 0)
    times = np.arange(1, len(energy)) * hop / RATE
    grid = np.array([plan.time_s(step) for step in range(plan.n_bars * plan.steps_per_bar + 1)])
    distance = np.abs(times[:, np.newaxis] - grid).min(axis=1)
    near = distance < 0.02
    assert near.mean() < 0.5  # most of the time is not near the grid; noise and claps go up and down by themselves
    assert rises[near].sum() / rises.sum() > 0.75


@pytest.mark.parametrize("kind", BASS_KINDS)
def test_basses_are_low_and_in_tune(kind):
    notes = [Note(0.5 * index, 0.45, 33, 0.8) for index in range(4)]  # 55 Hz
    track = play_notes(notes, random_patch(kind, rng(3)), 2 * RATE, rng(4))
    mixed = mixing.mix_bass(track, 0.3, rng(5))
    power = np.abs(np.fft.rfft(mixed[:, 0])) ** 2
    frequencies = np.fft.rfftfreq(len(mixed), 1 / RATE)
    assert power[frequencies < 250].sum() / power.sum() > 0.6
    spectrum = np.where((frequencies > 30) & (frequencies < 120), power, 0)
    strongest = frequencies[np.argmax(spectrum)]
    assert min(abs(strongest / harmonic - 55) for harmonic in (1, 2)) < 1.5


@pytest.mark.parametrize("role", ["strum", "piano", "epiano", "organ", "pad", "brass", "lead", "pluck", "power"])
def test_tones_have_their_pitch(role):
    for seed in range(3):
        patch = random_patch(role, rng(seed))
        samples = tone(patch, 57 - 12 * patch.octave, 1.0, 0.6, rng(seed))  # 220 Hz
        assert np.isfinite(samples).all()
        assert 0.05 < np.abs(samples).max() < 4
        correlation = np.fft.irfft(np.abs(np.fft.rfft(samples, 4 * RATE)) ** 2)
        # What repeats after the period of 220 Hz, or of what lies two octaves below (frequency modulation).
        periods = [
            correlation[round(factor * RATE / 220) - 1 : round(factor * RATE / 220) + 2].max()
            for factor in (1, 2, 4, 5)
        ]
        assert max(periods) > 0.45 * correlation[0]


def test_a_slide_glides_into_its_pitch():
    patch = Patch("wavetable", shape="sine", sustain=1.0)
    track = play_notes([Note(0.0, 1.0, 45, 0.9, slide_from=40)], patch, RATE, rng(1))[:, 0]
    begin, end = (
        np.diff(np.flatnonzero(np.diff(np.signbit(part)))).mean() for part in (track[:4000], track[20000:30000])
    )
    assert RATE / 2 / end == pytest.approx(110, abs=1)
    assert RATE / 2 / begin < 100


def test_a_kit_has_all_pieces_soft_and_hard():
    for is_synthetic in (False, True):
        kit = random_kit(rng(1), is_synthetic=is_synthetic)
        assert set(kit) == set(PIECES)
        for strokes in kit.values():
            assert all(np.abs(stroke).max() == pytest.approx(1, abs=1e-3) for stroke in strokes)


def test_a_closed_hat_chokes_the_open_one():
    kit = {"hat_open": [np.ones(RATE, dtype=np.float32)], "hat_closed": [np.zeros(10, dtype=np.float32)]}
    played = play_hits([Hit(0.0, "hat_open", 1.0), Hit(0.2, "hat_closed", 1.0)], kit, RATE, rng(1))
    assert played["hat_open"][int(0.15 * RATE)] > 0.5
    assert played["hat_open"][int(0.5 * RATE)] < 0.01


def test_samples_of_a_folder_take_the_place_of_the_kit(tmp_path):
    import soundfile

    times = np.arange(RATE // 4) / RATE
    soundfile.write(tmp_path / "bd_test.wav", 0.5 * np.sin(2 * np.pi * 60 * times), RATE)
    soundfile.write(tmp_path / "bass_test.wav", 0.5 * np.sin(2 * np.pi * 65.4 * times), RATE)
    (tmp_path / "notes.txt").write_text("not a sample")
    folder = open_samples(tmp_path)
    assert folder.names == ("bass_test.wav", "bd_test.wav")
    kits = [sampled_kit(folder, {"kick": [], "snare": []}, rng(index)) for index in range(8)]
    assert any(kit["kick"] for kit in kits)
    assert all(kit["snare"] == [] for kit in kits)


def test_a_room_decays_in_its_time():
    room = impulse_response(rng(1), decay_s=1.0, pre_delay_s=0.01, damping_hz=6000)
    energy = np.square(room, dtype=np.float64).sum(axis=1)
    remaining = 10 * np.log10(energy[::-1].cumsum()[::-1] / energy.sum())
    assert -45 < remaining[int(0.5 * RATE)] < -22


def test_the_limiter_keeps_peaks_down_without_jumps():
    mixture = rng(2).standard_normal((RATE, 2)).astype(np.float32)
    gain = limiter_gain(mixture, ceiling=0.9)
    assert np.abs(mixture * gain).max() <= 0.9 * 1.02
    assert np.abs(np.diff(gain[:, 0])).max() < 0.01
