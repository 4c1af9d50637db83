"""What the console says, and the statuses that it leaves with."""

import errno

import pytest

from cadenza_remix.console import LineProgress, exit_status, real_time, shown_steps, tell
from cadenza_remix.errors import InputError


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("job", [lambda: 130, interrupt])
def test_an_interruption_is_told(job, capsys):
    assert exit_status(job) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_bad_input_is_one_line(capsys):
    def job():
        raise InputError("broken", where="a [bold] song.wav")

    assert exit_status(job) == 2
    assert capsys.readouterr().err == "cadenza-remix: error: a [bold] song.wav: broken\n"


def test_a_full_device_is_one_line_and_other_faults_are_bugs(capsys):
    def fail(number):
        raise OSError(number, "reason")

    assert exit_status(lambda: fail(errno.ENOSPC)) == 2
    assert "standard output: cannot be written: reason" in capsys.readouterr().err
    with pytest.raises(OSError, match="reason"):
        exit_status(lambda: fail(errno.EIO))


def test_progress_in_a_log_ends_with_all(capsys):
    progress = LineProgress(every_s=0.0)
    progress.start("score", 2)
    progress.advance("score")
    progress.advance("score")
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("Scoring (HAAQI, SNR, SDR): 1 of 2")
    assert first.endswith("left")
    assert last == "Scoring (HAAQI, SNR, SDR): 2 of 2"


def test_progress_in_seconds_of_music_tells_the_speed(capsys, monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    progress = LineProgress(every_s=0.0)
    progress.start("separate", 240.4)
    progress.advance("separate", 0.0)  # a song that does not say how long it is
    now = 110.0
    progress.advance("separate", 120.0)
    progress.advance("separate", 120.4)
    first, middle, last = capsys.readouterr().err.splitlines()
    assert first == "Separating (s of music): 0 of 240"
    assert middle == "Separating (s of music): 120 of 240, 12x real time, 10 s left"
    assert last == "Separating (s of music): 240 of 240, 24x real time"


def test_steps_in_a_log_are_told_now_and_then_and_messages_always(capsys):
    with shown_steps("Training") as steps:
        steps.show(1, 90, "loss 0.5", float("inf"))
        steps.show(2, 90, "loss 0.4", 30.0)  # too soon
        steps.say("step 2: [good]")
    assert capsys.readouterr().err == "Training: 1 of 90, loss 0.5\nstep 2: [good]\n"


def test_names_stay_as_they_are(capsys):
    def job():
        raise InputError("broken", where=":smile:.wav")

    exit_status(job)
    tell(":smile:/[red]x")
    told = capsys.readouterr()
    assert ":smile:.wav: broken" in told.err
    assert told.out == ":smile:/[red]x\n"


@pytest.mark.parametrize(("seconds", "speed"), [(1.0, "1200x"), (8.123, "150x"), (81.23, "15x"), (812.3, "1.5x")])
def test_speeds_have_two_digits(seconds, speed):
    assert real_time(1234.5 if seconds == 1.0 else 1218.5, seconds) == f"{speed} real time"
