import numpy as np
import pytest

from cadenza_remix.runs.records import Record, digest, file_sizes, finished, read_record


def make(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.bin").write_bytes(b"abc")
    record = Record("unit", "key", {"x": 1}, file_sizes([tmp_path / "sub" / "a.bin"], tmp_path), {"y": 0.1})
    record.write(tmp_path / "r.json")
    return record


def test_comes_back_whole(tmp_path):
    record = make(tmp_path)
    assert read_record(tmp_path / "r.json") == record
    assert finished(tmp_path / "r.json", "key", tmp_path) == record
    assert record.files == {"sub/a.bin": 3}


def test_not_finished_when_anything_changed(tmp_path):
    make(tmp_path)
    assert finished(tmp_path / "r.json", "other key", tmp_path) is None
    assert finished(tmp_path / "none.json", "key", tmp_path) is None
    (tmp_path / "sub" / "a.bin").write_bytes(b"ab")
    assert finished(tmp_path / "r.json", "key", tmp_path) is None
    (tmp_path / "sub" / "a.bin").unlink()
    assert finished(tmp_path / "r.json", "key", tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 99}', '{"format": 1, "unit": "u"}', '{"format": 1, "odd": 1}']
)
def test_a_damaged_record_is_no_record(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    assert read_record(tmp_path / "r.json") is None


def test_digest_depends_on_values_and_not_on_the_order_of_keys():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest("a", "b") != digest("ab")
    assert digest(1.0) != digest(1.0 + 2e-16 * 2)
    assert digest(np.array([1, 2])) == digest([1, 2])
    with pytest.raises(TypeError, match="key"):
        digest(object())
