"""The settings of a listening test: what they may be, and one line for everything else."""

from dataclasses import fields
from pathlib import Path

import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.listen.panel.config import CADENZA_SCALES, TestSettings, load_test, participant_from

RECIPES = Path(__file__).parents[3] / "recipes" / "listening_tests"
MUSHRA = {"title": "T", "type": "mushra", "run": "r", "systems": ["a", "mixture"], "seed": 1}
EAR = {"frequencies_hz": [250, 1000, 4000], "levels_db_hl": [10, 30, 60]}


def written(tmp_path, **changes):
    import yaml

    settings = {key: value for key, value in {**MUSHRA, **changes}.items() if value != "absent"}
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def test_defaults(tmp_path):
    test = load_test(written(tmp_path))
    assert test.pages() == (("a", "mixture", "hidden_reference", "anchor_3500", "anchor_7000"),)
    assert (test.reference, test.loudness_lufs, test.max_peak_dbfs, test.repeats) == ("a", -23.0, -3.0, 1)
    assert (test.training_trials, test.break_every, test.songs) == (1, 10, None)
    assert [scale.id for scale in test.scales] == ["quality"]


def test_files_are_relative_to_the_settings(tmp_path):
    assert load_test(written(tmp_path, run=["r", "/s"])).runs == (tmp_path.resolve() / "r", Path("/s"))


@pytest.mark.parametrize("name", ["mushra", "scales", "ab"])
def test_the_examples_can_be_read(name):
    test = load_test(RECIPES / f"{name}.yaml")
    assert test.type == name
    assert test.systems == ("baseline", "e016", "mixture")


def test_the_settings_in_the_documentation_can_be_read(tmp_path):
    text = (RECIPES.parents[1] / "docs" / "listening_tests.md").read_text(encoding="utf-8")
    settings, questions = (block.split("```")[0] for block in text.split("```yaml\n")[1:])
    (tmp_path / "test.yaml").write_text(settings + questions, encoding="utf-8")
    test = load_test(tmp_path / "test.yaml")
    assert (test.type, [question.kind for question in test.questions]) == ("mushra", ["choice", "number", "text"])
    for key in (entry.name for entry in fields(TestSettings) if entry.name != "folder"):
        assert f"| `{key}` |" in text, key


def test_pages_of_each_type(tmp_path):
    ab = load_test(written(tmp_path, type="ab", systems=["a", "b", "c"], against="b"))
    assert ab.pages() == (("b", "a"), ("b", "c"))
    assert load_test(written(tmp_path, type="ab", systems=["a", "b"])).against == "a"
    scales = load_test(written(tmp_path, type="scales", systems=["a", "b"]))
    assert scales.pages() == (("a", "b"),)
    assert tuple(scale.id for scale in scales.scales) == CADENZA_SCALES
    alone = load_test(written(tmp_path, type="scales", systems=["a", "b"], one_by_one=True))
    assert alone.pages() == (("a",), ("b",))


def test_own_scales_other_reference_and_null(tmp_path):
    own = {"id": "warmth", "label": "Warmth", "low": "cold", "high": "warm"}
    test = load_test(written(tmp_path, type="scales", scales=["liking", own]))
    assert test.scales[1].to_dict() == own
    test = load_test(written(tmp_path, reference={"chain": "b"}, loudness_lufs=None, anchors_hz=[]))
    assert (test.reference, test.loudness_lufs, test.anchors_hz) == ("b", None, ())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sytems": ["a"]}, "unknown key 'sytems': expected one of title, type, run, systems"),
        ({"title": "absent"}, "key title is missing"),
        ({"seed": "absent"}, "key seed is missing"),
        ({"seed": -1}, "seed: wrong value"),
        ({"seed": True}, "seed: wrong value"),
        ({"type": "abx"}, "unknown type 'abx': expected one of mushra, scales, ab"),
        ({"type": "ab", "anchors_hz": [3500]}, "key anchors_hz has no meaning: expected type mushra, found ab"),
        ({"against": "a"}, "key against has no meaning: expected type ab, found mushra"),
        ({"systems": []}, "systems: wrong value"),
        ({"systems": ["a", "a"]}, "systems: wrong value: expected each name once"),
        ({"systems": ["a", "hidden_reference"]}, "is the name of a stimulus"),
        ({"systems": ["a", "anchor_3500"]}, "is the name of a stimulus"),
        ({"systems": ["mixture"]}, "no system whose chain it could be"),
        ({"systems": [f"s{n}" for n in range(10)]}, "too many stimuli on a page: expected at most 12, found 13"),
        ({"type": "ab", "systems": ["a"]}, "nothing to compare"),
        ({"type": "ab", "against": "c"}, "against: unknown system 'c'"),
        ({"type": "scales", "scales": ["clearness"]}, "unknown scale 'clearness'"),
        ({"type": "scales", "scales": ["liking", "liking"]}, "scale stands twice"),
        ({"type": "scales", "scales": [{"id": "x"}]}, "label: wrong value"),
        ({"type": "scales", "one_by_one": 1}, "one_by_one: wrong value: expected true or false"),
        ({"loudness_lufs": -5}, "loudness_lufs: wrong value: expected a number from -60 to -16 or null, found -5"),
        ({"max_peak_dbfs": 0}, "max_peak_dbfs: wrong value"),
        ({"max_peak_dbfs": float("nan")}, "max_peak_dbfs: wrong value"),
        ({"duration_s": 0.5}, "duration_s: wrong value: expected a number from 1 to 60"),
        ({"duration_s": 10**400}, "duration_s: wrong value: expected a number from 1 to 60"),
        ({"duration_s": None}, "duration_s: wrong value: expected a number from 1 to 60, found None"),
        ({"repeats": 0}, "repeats: wrong value"),
        ({"training_trials": 1.5}, "training_trials: wrong value"),
        ({"break_every": -1}, "break_every: wrong value"),
        ({"anchors_hz": [3500, 3500]}, "anchors_hz: wrong value"),
        ({"anchors_hz": [20]}, "anchors_hz: wrong value"),
        ({"reference": "dirty"}, "reference: wrong form"),
        ({"songs": "some"}, "songs: wrong value: expected all, or a list of songs"),
        ({"songs": [{"start_s": 1}]}, "songs[0]: name: wrong value"),
        ({"songs": [{"name": "x", "start_s": -1}]}, "songs[0]: start_s: wrong value"),
        ({"songs": [{"name": "x", "end_s": 1}]}, "songs[0]: unknown key 'end_s'"),
        ({"songs": ["x", "x"]}, "passage stands twice"),
        ({"participants": [{"listener": "a", "audiogram": {}}]}, "participants[0]: wrong form"),
        ({"participants": [{"name": "Ann"}]}, "unknown key 'name': expected one of listener, audiogram"),
        ({"participants": [{"label": "P01"}]}, "participants[0]: wrong form: expected listener or"),
        ({"participants": [{"listener": "a", "label": 7}]},
         "participants[0]: label: wrong value: expected text (a number or date in quotes), found 7"),
        ({"participants": [{"listener": "a", "label": True}]}, "participants[0]: label: wrong value"),
        ({"participants": [{"listener": "a", "label": "x" * 41}]}, "participants[0]: label: too long: expected at"),
        ({"participants": [{"listener": "a", "label": "a\nb"}]}, "participants[0]: label: wrong value: expected print"),
        ({"participants": [{"listener": "a", "label": "P1"}, {"listener": "b"}, {"listener": "b", "label": " P1 "}]},
         "participants[2]: label: stands twice: expected each label once, found 'P1'"),
        ({"participants": "all"}, "participants: wrong value"),
        ({"participants": {}}, "participants: wrong value: expected a list, found {}"),
        ({"participants": [{"listener": "a"}] * 2001}, "participants: too many: expected at most 2000, found 2001"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, changes, words):
    with pytest.raises(InputError) as caught:
        load_test(written(tmp_path, **changes))
    assert words in str(caught.value)
    assert str(tmp_path / "test.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "words"), [
    ("title: a\ntitle: b\n", "key title stands twice"),
    ("title: [", "is not YAML"),
    ("- a\n", "wrong form"),
    ("", "wrong form"),
])  # fmt: skip
def test_what_is_no_mapping(tmp_path, text, words):
    (tmp_path / "test.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        load_test(tmp_path / "test.yaml")


@pytest.mark.parametrize(
    "changed", ['title: "Which \\uD800?"', 'questions: [{id: a, kind: choice, text: x, choices: [b, "\\uDC00"]}]']
)
def test_half_a_character_is_refused(tmp_path, changed):
    path = written(tmp_path, title="absent" if "title" in changed else "T")
    path.write_text(path.read_text() + changed)
    with pytest.raises(InputError, match=r"half a character in a text: expected whole ones, found .*\\ud[8c]00'$"):
        load_test(path)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="file is missing: expected a YAML file"):
        load_test(tmp_path / "no.yaml")


def test_participants():
    assert participant_from({"listener": "L1"}).listener == "L1"
    both = participant_from({"audiogram": {"left": EAR, "right": EAR}})
    assert both.left == both.right
    for wrong in (
        {"audiogram": {"left": EAR}},
        {"audiogram": {"left": EAR, "right": {**EAR, "levels_db_hl": [1]}}},
        {"audiogram": {"left": EAR, "right": {**EAR, "levels_db_hl": [1, 2, 300]}}},
        {"audiogram": {"left": EAR, "right": {"frequencies_hz": list(range(1, 70)), "levels_db_hl": [0] * 69}}},
        {"listener": ""},
        {"listener": 5},
        {},
        None,
    ):
        with pytest.raises(InputError):
            participant_from(wrong)


def test_labels_of_participants(tmp_path):
    ears = {"audiogram": {"left": EAR, "right": EAR}}
    people = [{"listener": "a", "label": " P01 "}, {**ears, "label": "007"}, {"listener": "a", "label": None}, ears]
    test = load_test(written(tmp_path, participants=people))
    assert [choice.label for choice in test.participants] == ["P01", "007", None, None]
    plain = test.to_dict()["participants"]
    assert [entry.get("label", "absent") for entry in plain] == ["P01", "007", "absent", "absent"]
    assert [participant_from(entry) for entry in plain] == list(test.participants)
    path = written(tmp_path)
    path.write_text(path.read_text() + "participants: [{listener: a, label: 007}]")  # seven, to YAML
    with pytest.raises(InputError, match=r"label: wrong value: expected text \(a number or date in quotes\), found 7$"):
        load_test(path)


def test_plain_values_tell_tests_apart(tmp_path):
    first = load_test(written(tmp_path)).to_dict()
    assert first == load_test(written(tmp_path, duration_s=15)).to_dict()
    assert first != load_test(written(tmp_path, duration_s=14)).to_dict()
    assert "against" not in first
