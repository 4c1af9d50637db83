import itertools
import json

import numpy as np
import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Audiogram, load_listeners

CFS = [250, 500, 1000, 2000, 3000, 4000, 6000, 8000]


def entry(**changes):
    fields = {
        "name": "L1",
        "audiogram_cfs": CFS,
        "audiogram_levels_l": [10, 20, 30, 40, 50, 60, 70, 80],
        "audiogram_levels_r": [0] * 8,
    }
    fields.update(changes)
    return {key: value for key, value in fields.items() if value is not None}


def test_built_in_sets():
    cad1 = load_listeners("cad1-sample")
    assert sorted(cad1) == ["L5040", "L5076"]
    assert cad1["L5040"].left.levels_at([2000]) == 70
    bisgaard = load_listeners("bisgaard")
    assert list(bisgaard) == ["N1", "N2", "N3", "N4", "N5", "N6", "N7", "S1", "S2", "S3"]
    assert bisgaard["N4"].left == bisgaard["N4"].right
    # Each step N1..N7 is a greater loss at every frequency.
    levels = [bisgaard[f"N{i}"].left.levels_db_hl for i in range(1, 8)]
    assert all((after >= before).all() and after.sum() > before.sum() for before, after in itertools.pairwise(levels))


def test_interpolation_is_linear_over_log_frequency_and_held_outside():
    audiogram = Audiogram([500, 2000], [10, 50])
    np.testing.assert_allclose(audiogram.levels_at([100, 500, 1000, 2000, 9000]), [10, 10, 30, 50, 50])


def test_only_keeps_the_named_in_their_order(tmp_path):
    path = tmp_path / "l.json"
    path.write_text(json.dumps({"A": entry(name="A"), "B": entry(name="B"), "C": entry(name="C")}))
    assert list(load_listeners(path, only=["C", "A"])) == ["C", "A"]
    with pytest.raises(InputError, match="unknown listener 'D'"):
        load_listeners(path, only=["D"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"audiogram_cfs": None}, "audiogram_cfs is missing"),
        ({"audiogram_levels_r": None}, "audiogram_levels_r is missing"),
        ({"name": "L2"}, "expected 'L1', found 'L2'"),
        (
            {"audiogram_cfs": [250, 1000, 500, 2000, 3000, 4000, 6000, 8000]},
            "not sorted: expected ascending Hz, found 500 after 1000",
        ),
        ({"audiogram_cfs": [250, 500, 500, 2000, 3000, 4000, 6000, 8000]}, "duplicate frequency"),
        ({"audiogram_levels_l": [1, 2]}, "differ in length: expected 8, found 2"),
        (
            {"audiogram_levels_l": [1, 2, 3, 4, 5, 6, 7, "8"]},
            "entry 8 is not a number: expected finite numbers, found '8'",
        ),
        ({"audiogram_levels_l": [1, 2, 3, 4, 5, 6, 7, float("nan")]}, "found nan"),
        ({"audiogram_levels_l": [1, 2, 3, 4, 5, 6, 7, None]}, "found None"),
        ({"audiogram_levels_l": [1, 2, 3, 4, 5, 6, 7, True]}, "found True"),
        ({"audiogram_levels_l": "loud"}, "expected a list of numbers"),
        ({"audiogram_levels_l": [1, 2, 3, 4, 5, 6, 7, 1000]}, "level at 8000 Hz cannot be"),
        ({"audiogram_cfs": [0, 500, 1000, 2000, 3000, 4000, 6000, 8000]}, "not positive"),
        (
            {"audiogram_cfs": [0.25, 0.5, 1, 2, 3, 4, 6, 8]},
            "frequencies too low: expected Hz, such as 250 to 8000, found up to 8",
        ),
    ],
)
def test_faults_of_a_listener_are_named(tmp_path, changes, words):
    path = tmp_path / "listeners.json"
    path.write_text(json.dumps({"L1": entry(**changes)}))
    with pytest.raises(InputError) as caught:
        load_listeners(path)
    assert words in str(caught.value)
    assert "listeners.json: listener L1" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no listeners"),
        ("{}", "holds no listeners"),
        ('{"L1": 3}', "wrong entry"),
        ('{"L1": {}, "L1": {}}', "key stands twice"),
        (json.dumps({"../x": entry(name="../x")}), "cannot name a folder"),
    ],
)
def test_faults_of_the_file_are_named(tmp_path, text, words):
    path = tmp_path / "listeners.json"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        load_listeners(path)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(InputError, match="is missing"):
        load_listeners(tmp_path / "none.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        load_listeners(tmp_path / "b.json")
    with pytest.raises(InputError, match="cannot be read"):
        load_listeners(tmp_path)
