from cadenza_remix.errors import CadenzaError, InputError, unknown_name


def test_line_names_place_expectation_and_finding():
    error = InputError("wrong number of channels", where="song.wav", expected="1 or 2", found=6)
    assert str(error) == "song.wav: wrong number of channels: expected 1 or 2, found 6"
    assert isinstance(error, CadenzaError)
    assert isinstance(error, ValueError)


def test_message_is_one_line_whatever_is_put_in():
    assert "\n" not in str(InputError("a\nb", where="c\n", expected="d\n\ne", found="f\r\ng"))


def test_unknown_name_lists_the_known_and_suggests_the_nearest():
    text = str(unknown_name("chain", "e15", ["baseline", "e016"]))
    assert "baseline, e016" in text
    assert "did you mean 'e016'" in text
    assert "did you mean" not in str(unknown_name("chain", "zzz", ["baseline"]))
