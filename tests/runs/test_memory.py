from cadenza_remix.runs.memory import affordable_workers, available_bytes


def test_as_many_workers_as_fit_and_at_least_one():
    assert affordable_workers(8, 2e9, available=10_000_000_000) == 4  # a tenth is left to others
    assert affordable_workers(2, 1e6, available=10_000_000_000) == 2
    assert affordable_workers(8, 2e9, available=0) == 1


def test_memory_of_this_machine_is_between_a_megabyte_and_a_hundred_terabytes():
    free = available_bytes()
    assert free is None or 1e6 < free < 1e14
