from pathlib import Path

import numpy as np
import pytest

from cadenza_remix.errors import InputError, OutputError
from cadenza_remix.runs.outputs import OutputSettings, Selection, plan_targets
from cadenza_remix.runs.songs import SongFile

STEMS = ("vocals", "drums", "bass", "other")


def planned(template, songs, **options):
    settings = OutputSettings(template=template, **options)
    selection = Selection.of(STEMS, settings, separator="test")
    targets = plan_targets([SongFile(Path(path).stem, Path(path)) for path in songs], selection, settings, Path("out"))
    return [path.as_posix() for target in targets for path in target.files.values()]


def test_names_as_spleeters_by_default():
    assert planned("{out}/{song}/{stem}.{format}", ["m/a.mp3"]) == [f"out/a/{stem}.wav" for stem in STEMS]


def test_every_placeholder():
    name = "{out}/{folder}/{index} {song} ({stem}).{format}"
    given = {"stems": ("bass",), "format_name": "flac"}
    assert planned(name, ["one/a.mp3", "two/a.mp3"], **given) == [
        "out/one/001 a (bass).flac",
        "out/two/002 a (bass).flac",
    ]


def test_the_folder_of_a_mixture_is_the_one_above():
    settings = OutputSettings(template="{out}/{folder}/{song}/{stem}.wav", stems=("bass",))
    songs = [SongFile("A song", Path("test/A song/mixture.wav"))]
    (target,) = plan_targets(songs, Selection.of(STEMS, settings, separator="test"), settings, Path("out"))
    assert target.files["bass"] == Path("out/test/A song/bass.wav")


def test_the_format_follows_the_name():
    assert OutputSettings(template="{out}/{song} {stem}.FLAC").format.name == "flac"
    assert OutputSettings(template="{out}/{song} {stem}.mp3").format.bits is None
    assert OutputSettings(bits="24").format.bits == "24"
    assert OutputSettings().format.bits == "16"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"template": "{out}/{filename}/{stem}.wav"}, "unknown placeholder 'filename': expected one of out, song"),
        ({"template": "{song}/{stem}.wav"}, "leaves the folder of results: expected {out}/..."),
        ({"template": "{out}/{out}/{stem}.wav"}, "leaves the folder"),
        ({"template": "{out}/{song!r}/{stem}.wav"}, "placeholder with an addition: expected {song} alone"),
        ({"template": "{out}/{stem:>9}.wav"}, "placeholder with an addition"),
        ({"template": "{out}/{0}.wav"}, "unknown placeholder '0'"),
        ({"template": "{out}/{}.wav"}, "unknown placeholder ''"),
        ({"template": "{out}/{song"}, "cannot be read"),
        ({"template": "{out}/{song}/{stem}"}, "does not end as a file of audio"),
        ({"template": "{out}/{song}/{stem}.m4a"}, "does not end as a file of audio"),
        ({"template": "{out}/{stem}.wav", "format_name": "flac"}, "format differ: expected .flac, found .wav"),
        ({"format_name": "flac", "bits": "32f"}, "impossible number of bits"),
        ({"on_clip": "float"}, "cannot be kept: expected --bits 32f (WAV), found wav 16"),
        ({"on_clip": "float", "format_name": "ogg"}, "found ogg"),
        ({"on_clip": "limit"}, "unknown way with clipping 'limit': expected one of scale, clip, float"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(given, words):
    with pytest.raises(InputError) as caught:
        OutputSettings(**given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("template", "songs", "words"),
    [
        ("{out}/{song}.wav", ["a.mp3"], "vocals of a.mp3 and drums of a.mp3 would be one file"),
        ("{out}/{song}/{stem}.wav", ["one/a.mp3", "two/a.mp3"], "vocals of one/a.mp3 and vocals of two/a.mp3"),
        ("{out}/{song}/{stem}.wav", ["a.wav", "a.mp3"], "would be one file"),
        ("{out}/{stem}.wav", ["a.wav", "b.wav"], "would be one file"),
        ("{out}/../{song}/{stem}.wav", ["a.wav"], "cannot name a folder"),
        ("{out}//{stem}.wav", ["a.wav"], "cannot name a folder"),
        ("{out}/{stem}.wav", ["out/vocals.wav"], "out/vocals.wav: would be written over a song"),
    ],
)
def test_names_that_cannot_be(template, songs, words):
    with pytest.raises(InputError) as caught:
        planned(template, songs)
    assert words in str(caught.value)


def test_an_output_that_is_a_folder(tmp_path):
    (tmp_path / "a" / "bass.wav").mkdir(parents=True)
    settings = OutputSettings()
    with pytest.raises(InputError, match=r"bass\.wav: is a folder"):
        plan_targets([SongFile("a", Path("a.mp3"))], Selection.of(STEMS, settings, separator="t"), settings, tmp_path)


def test_the_instrumental_is_all_but_the_vocals():
    parts = Selection.of(STEMS, OutputSettings(instrumental=True), separator="t").parts
    assert parts == {"instrumental": ("drums", "bass", "other")}
    parts = Selection.of(STEMS, OutputSettings(instrumental=True, stems=("vocals",)), separator="t").parts
    assert parts == {"vocals": ("vocals",), "instrumental": ("drums", "bass", "other")}


def test_stacking_puts_the_files_side_by_side():
    block = {stem: np.full((3, 2), [number, -number], dtype=np.float32) for number, stem in enumerate(STEMS)}
    selection = Selection.of(STEMS, OutputSettings(instrumental=True, stems=("bass",)), separator="t")
    np.testing.assert_array_equal(selection.stack(block, 2)[0], [2, -2, 6, -6])
    np.testing.assert_array_equal(selection.stack(block, 1)[0], [0, 0])


def test_a_stem_named_instrumental_is_not_replaced():
    stems = ("vocals", "drums", "instrumental")
    assert set(Selection.of(stems, OutputSettings(), separator="t").parts) == set(stems)
    with pytest.raises(InputError, match="t: gives a stem named instrumental itself"):
        Selection.of(stems, OutputSettings(instrumental=True, stems=("drums",)), separator="t")


@pytest.mark.parametrize("taken", [".cadenza-remix", "a", ".cadenza-remix/a"])
def test_a_file_in_the_place_of_a_folder(tmp_path, taken):
    (tmp_path / taken).parent.mkdir(exist_ok=True)
    (tmp_path / taken).write_text("x")
    settings = OutputSettings()
    selection = Selection.of(STEMS, settings, separator="t")
    with pytest.raises(OutputError) as caught:
        plan_targets([SongFile("a", Path("a.mp3"))], selection, settings, tmp_path)
    assert str(caught.value) == f"{tmp_path / taken}: cannot be written to: expected a folder, found a file"


def test_a_folder_in_the_place_of_a_record(tmp_path):
    (tmp_path / ".cadenza-remix" / "a" / "bass.wav.json").mkdir(parents=True)
    settings = OutputSettings()
    selection = Selection.of(STEMS, settings, separator="t")
    with pytest.raises(OutputError, match=r"bass\.wav\.json: cannot be written: .* found a folder"):
        plan_targets([SongFile("a", Path("a.mp3"))], selection, settings, tmp_path)


def test_names_that_the_system_does_not_take():
    with pytest.raises(InputError, match=r"cannot be used: .*File name too long"):
        planned("{out}/" + "a" * 190 + ("/" + "a" * 190) * 25 + "/{stem}.wav", ["a.mp3"])
