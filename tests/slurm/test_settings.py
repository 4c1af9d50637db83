"""The part ``slurm`` of a run's settings: defaults, what is understood, what is refused and in which words."""

from pathlib import Path

import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.slurm.settings import JobEnvironment, SlurmSettings, StageSettings, read_settings


def test_nothing_given():
    settings = read_settings({}, prefix="/opt/python")
    assert settings == SlurmSettings(environment=JobEnvironment(venv=Path("/opt/python")))
    assert settings.demix == StageSettings(partition="gpu", gres="gpu:1", cpus=4, memory_gb=16)
    assert settings.pairs == StageSettings(cpus=8)
    assert settings.collect == StageSettings(cpus=1, memory_gb=4, time_min=60)
    assert (settings.rounds, settings.signal_s, settings.deadline_s, settings.scratch) == (
        3,
        120,
        90,
        "${TMPDIR:-/tmp}",
    )


def test_everything_given():
    settings = read_settings(
        {
            "environment": {"venv": "/opt/my env", "modules": ["python/3.11", "cuda"], "setup": ["umask 027"]},
            "options": ["--account=abc", "--comment=my run"],
            "scratch": "/local/$USER",
            "demix": {"partition": None, "gres": "gpu:a100:2", "cpus": 2, "memory_gb": 7.5, "options": ["-Cfast"]},
            "pairs": {"partition": "cpu", "cpus": 40, "time_min": 90, "shards": 12},
            "collect": {"memory_gb": 1, "cpus": None},
            "target_min": 30,
            "most_running": 5,
            "signal_s": 20,
            "most_restarts": 0,
            "rounds": 1,
            "most_submitted": 100,
        }
    )
    assert settings.environment == JobEnvironment(("python/3.11", "cuda"), Path("/opt/my env"), None, ("umask 027",))
    assert settings.options == ("--account=abc", "--comment=my run")
    assert settings.demix == StageSettings(None, "gpu:a100:2", 2, 7.5, None, None, ("-Cfast",))
    assert settings.demix.n_gpus == 2
    assert settings.pairs == StageSettings("cpu", None, 40, None, 90, 12)
    assert settings.collect == StageSettings(None, None, 1, 1.0, 60)
    assert settings.deadline_s == 5


def test_conda_stands_for_the_submitting_python():
    environment = read_settings({"environment": {"conda": "music"}}, prefix="/opt/python").environment
    assert environment == JobEnvironment(conda="music")


@pytest.mark.parametrize(
    ("gres", "n_gpus"), [(None, 0), ("gpu", 1), ("gpu:3", 3), ("gpu:a100", 1), ("gpu:a100:4,shard:8", 4)]
)
def test_number_of_gpus(gres, n_gpus):
    assert read_settings({"demix": {"gres": gres}}).demix.n_gpus == n_gpus


@pytest.mark.parametrize(
    ("demix", "partition"),
    [({}, "gpu"), ({"gres": "gpu:2"}, "gpu"), ({"gres": None}, None), ({"gres": None, "partition": "a"}, "a")],
)
def test_the_partition_of_gpus_is_for_those_who_ask_for_one(demix, partition):
    assert read_settings({"demix": demix}).demix.partition == partition


def test_errors_begin_with_the_file():
    with pytest.raises(InputError, match=r"^run\.yaml: slurm\.demix\.cpus: wrong value: expected a whole number"):
        read_settings({"demix": {"cpus": 0}}, where="run.yaml")
    with pytest.raises(InputError, match=r"^run\.yaml: slurm: unknown key 'demx'"):
        read_settings({"demx": {}}, where="run.yaml")


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ({"demx": {}}, "slurm: unknown key 'demx': expected one of environment, options, scratch, demix, pairs"),
        ({"pairs": {"gres": "gpu:1"}}, "slurm.pairs: unknown key 'gres': expected one of partition, cpus"),
        ({"collect": {"shards": 1}}, "slurm.collect: unknown key 'shards'"),
        ({"environment": {"env": "x"}}, "slurm.environment: unknown key 'env': expected one of venv, conda"),
        ({"environment": "x"}, "slurm.environment: wrong form: expected keys among venv, conda, modules, setup"),
        ({"environment": {"venv": "x"}}, "slurm.environment.venv: not absolute: expected a path from /"),
        ({"environment": {"venv": "/x", "conda": "y"}}, "slurm.environment: venv and conda stand together"),
        ({"environment": {"setup": ["a\nb"]}}, "slurm.environment.setup[0]: wrong value: expected one line of text"),
        ({"demix": {"cpus": 0}}, "slurm.demix.cpus: wrong value: expected a whole number from 1 to 100000, found 0"),
        ({"demix": {"cpus": True}}, "slurm.demix.cpus: wrong value: expected a whole number from 1 to 100000"),
        ({"pairs": {"memory_gb": "16G"}}, "slurm.pairs.memory_gb: wrong value: expected gigabytes"),
        ({"pairs": {"memory_gb": float("nan")}}, "slurm.pairs.memory_gb: wrong value: expected gigabytes"),
        ({"pairs": {"partition": "a b"}}, "slurm.pairs.partition: wrong value: expected a name without blanks"),
        ({"demix": {"gres": "shard:1"}}, "slurm.demix.gres: asks for no GPU: expected such as gpu:1"),
        ({"demix": {"gres": "gpu:0"}}, "slurm.demix.gres: asks for no GPU: expected such as gpu:1"),
        ({"demix": {"gres": "gpu:x:y:z"}}, "slurm.demix.gres: wrong form: expected such as gpu:1 or gpu:a100:2"),
        ({"demix": {"gres": "gpu:x:y"}}, "slurm.demix.gres: wrong form: expected such as gpu:1 or gpu:a100:2"),
        ({"demix": {"gres": "gpu:"}}, "slurm.demix.gres: wrong form: expected such as gpu:1 or gpu:a100:2"),
        ({"demix": {"gres": "gpu:1001"}}, "slurm.demix.gres: too many GPUs: expected such as gpu:1"),
        ({"signal_s": 4}, "slurm.signal_s: wrong value: expected a whole number from 5 to 65535, found 4"),
        ({"rounds": 0}, "slurm.rounds: wrong value"),
        ({"pairs": {"time_min": 2}}, "slurm.pairs.time_min: too short: the job would be told of its end"),
        ({"scratch": ""}, "slurm.scratch: wrong value: expected one line of text, found ''"),
        ({"options": ["account=abc"]}, "slurm.options: no option of sbatch: expected one option each"),
        ({"options": ["--account abc"]}, "slurm.options: no option of sbatch: expected one option each"),
        ({"options": 5}, "slurm.options: wrong value: expected a list of texts, found 5"),
    ],
)  # fmt: skip
def test_refused(raw, line):
    with pytest.raises(InputError) as caught:
        read_settings(raw)
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    ("option", "name", "instead"),
    [
        ("--array=0-3", "--array", "slurm.demix.shards or slurm.pairs.shards"),
        ("-a0-3", "-a", "slurm.demix.shards or slurm.pairs.shards"),
        ("--time=5", "--time", "slurm.<stage>.time_min"),
        ("--tim=5", "--tim", "slurm.<stage>.time_min"),
        ("-t5", "-t", "slurm.<stage>.time_min"),
        ("--mem-per-cpu=5G", "--mem-per-cpu", "slurm.<stage>.memory_gb"),
        ("--cpus-per-task=5", "--cpus-per-task", "slurm.<stage>.cpus"),
        ("--no-requeue", "--no-requeue", "slurm.most_restarts: 0"),
        ("--signal=USR1", "--signal", "slurm.signal_s"),
        ("--wrap=ls", "--wrap", "nothing"),
    ],
)
def test_options_that_are_ours(option, name, instead):
    with pytest.raises(InputError) as caught:
        read_settings({"demix": {"options": ["--exclusive", option]}})
    line = f"slurm.demix.options: {name} is set by this program: expected {instead}, found {option!r}"
    assert str(caught.value) == line


@pytest.mark.parametrize("option", ["--qos=long", "-Aabc", "--time-min=5", "--exclude=n1", "--nice", "--export=ALL"])
def test_options_of_the_site(option):
    assert read_settings({"options": [option]}).options == (option,)
