"""What may be asked of a separator: values of another kind are refused."""

from dataclasses import fields

import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.separation.options import SeparationOptions


@pytest.mark.parametrize("value", ["no", "False", "", None, 0, 1])
def test_wiener_is_yes_or_no(value):
    with pytest.raises(InputError, match="wrong wiener: expected True or False, found "):
        SeparationOptions(wiener=value)


@pytest.mark.parametrize("name", [field.name for field in fields(SeparationOptions) if field.name != "wiener"])
@pytest.mark.parametrize("value", ["nothing like it", "", 0, 1, True, [], {}])
def test_other_values_are_refused(name, value):
    with pytest.raises(InputError, match=f"unknown {name.replace('_', ' ')} .*expected one of ") as caught:
        SeparationOptions(**{name: value})
    assert "\n" not in str(caught.value)


def test_what_is_changed_is_told_and_refused_by_those_who_do_not_know_it():
    assert SeparationOptions().changed() == ()
    options = SeparationOptions(device="cpu", wiener=True)
    assert options.changed() == ("device", "wiener")
    options.refuse_all_but(("wiener",), separator="some")
    with pytest.raises(InputError, match=r"^some: option is not known.*expected --device, found --wiener$"):
        options.refuse_all_but(("device",), separator="some")
