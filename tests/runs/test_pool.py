import threading

import pytest

from cadenza_remix.errors import InputError, OutputError
from cadenza_remix.runs.pool import run_units


def test_results_keep_the_order_of_the_units():
    barrier = threading.Barrier(2)

    def work(unit):
        if unit < 2:
            barrier.wait(10)  # passes only when two units run at once
        return unit * unit

    results, failures = run_units(range(20), work, n_workers=2)
    assert results == [unit * unit for unit in range(20)]
    assert failures == []


def test_a_bad_unit_does_not_hold_up_the_others():
    def work(unit):
        if unit == 3:
            raise InputError("broken", where="song 3")
        return unit

    results, failures = run_units(range(6), work, n_workers=2, name=lambda unit: f"unit {unit}")
    assert results == [0, 1, 2, 4, 5]
    assert [(failure.unit, str(failure.error)) for failure in failures] == [("unit 3", "song 3: broken")]


@pytest.mark.parametrize("error", [OutputError("disk full"), RuntimeError("bug"), KeyboardInterrupt()])
def test_what_concerns_all_stops_all(error):
    seen = []

    def work(unit):
        seen.append(unit)
        if unit == 0:
            raise error
        threading.Event().wait(0.02)

    with pytest.raises(type(error)):
        run_units(range(500), work, n_workers=1)
    assert len(seen) < 500
