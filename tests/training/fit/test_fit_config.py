"""The settings of a training: what YAML and overrides become, and that every mistake is refused by its name."""

from pathlib import Path

import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.training.fit.config import TrainConfig, load_config
from cadenza_remix.training.fit.schedules import check_schedule, learning_rate

TEXT = """
name: small
model: {architecture: spleeter-unet, stems: [vocals, accompaniment], n_frames: 64, settings: {filters: [4, 8]}}
data:
  train:
    - {path: songs, weight: 2}
    - {path: /elsewhere/songs, split: all, songs: one}
  valid: [{path: ../held_out}]
  augmentation: {gain_db: [-3, 3], normalise: rms, level_db: [-25, -15]}
loss:
  - l1
  - {name: phase-sensitive, weight: 0.5}
optimiser: {learning_rate: 1e-3, clip_norm: null}
training: {max_minutes: 5, jit: no, devices: 1}
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "config.yaml"
    path.parent.mkdir()
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_yaml_becomes_dataclasses(path):
    config = load_config(path)
    assert config.model.stems == ("vocals", "accompaniment")
    assert config.data.targets == {"vocals": ("vocals",), "accompaniment": ("drums", "bass", "other")}
    assert config.data.augmentation.gain_db == (-3.0, 3.0)
    assert [(part.name, part.weight) for part in config.loss] == [("l1", 1.0), ("phase-sensitive", 0.5)]
    assert config.optimiser.learning_rate == 0.001
    assert config.optimiser.clip_norm is None
    assert config.training.max_minutes == 5.0
    assert (config.training.jit, config.training.devices) == ("false", "1")
    assert config.data.train[1].songs == ("one",)


def test_relative_paths_count_from_the_file(path):
    config = load_config(path)
    assert config.data.train[0].path == path.parent / "songs"
    assert str(config.data.train[1].path) == "/elsewhere/songs"
    assert config.data.valid[0].path.resolve() == path.parents[1] / "held_out"


def test_overrides_are_laid_over(path):
    config = load_config(
        path, ["training.max_steps=7", "data.train[0].path=others", "loss=l1", "model.settings.filters=[2,4]", "name=x"]
    )
    assert config.training.max_steps == 7
    assert config.data.train[0].path == Path.cwd() / "others"  # typed where one stands
    assert [part.name for part in config.loss] == ["l1"]
    assert config.model.settings["filters"] == [2, 4]
    assert config.model.stems == ("vocals", "accompaniment")
    assert config.name == "x"


def test_round_trip_by_plain_values(path):
    config = load_config(path)
    assert TrainConfig.from_dict(config.as_dict()) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.max_step=7", r"training: unknown setting 'max_step'.*did you mean 'max_steps'"),
        ("optimizer.name=adam", "unknown setting 'optimizer'"),
        ("training.max_steps=many", "training.max_steps: wrong setting: expected a whole number"),
        ("training.max_steps=0", "training.max_steps"),
        ("optimiser.name=rmsprop", "expected one of adam, adamw, sgd"),
        ("optimiser.weight_decay=0.1", "adamw"),
        ("data.augmentation.swap_share=2", "swap_share"),
        ("data.targets={vocals: [vocals]}", "data.targets"),
        ("data.train=[]", "data.train"),
        ("model.stems=[voice, piano]", "model.stems"),
        ("max_steps", "expected key=value"),
        ("name=null", "name"),
        ("name=a/b", "name: wrong name of a model"),
        ("facts={score: .nan}", "facts: wrong setting"),
        ("optimiser.learning_rate=.inf", "expected a finite number"),
        ("training.seed=-1", "training.seed"),
        ("training.seed=4294967296", "at most 4294967295"),
        ("data.train[0].split=dev", r"unknown split 'dev': expected one of train, valid, test, all"),
    ],
)
def test_mistakes_are_refused_by_name(path, override, message):
    with pytest.raises(InputError, match=message):
        load_config(path, [override])


def test_missing_file_and_missing_setting_are_named(tmp_path):
    with pytest.raises(InputError, match="file is missing"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "half.yaml").write_text("name: x\n")
    with pytest.raises(InputError, match="model: setting is missing"):
        load_config(tmp_path / "half.yaml")
    (tmp_path / "broken.yaml").write_text("name: [x\n")
    with pytest.raises(InputError, match=r"broken\.yaml: .* in line \d, column \d"):
        load_config(tmp_path / "broken.yaml")


def rates(config, steps, seconds=0.0):
    return [
        learning_rate(config.optimiser, config.training, step=step, seconds=seconds, n_reductions=2) for step in steps
    ]


def test_schedules(path):
    base = ["optimiser.learning_rate=1.0", "optimiser.warmup_steps=10", "training.max_steps=110"]
    constant = load_config(path, base)
    assert rates(constant, [0, 4, 9, 10, 100]) == [0.1, 0.5, 1.0, 1.0, 1.0]
    cosine = load_config(path, [*base, "optimiser.schedule=cosine", "optimiser.final_share=0.2"])
    assert rates(cosine, [10, 60, 110]) == pytest.approx([1.0, 0.6, 0.2])
    timed = load_config(path, [*base, "optimiser.schedule=cosine-time", "optimiser.final_share=0"])
    assert rates(timed, [50], seconds=150.0) == pytest.approx([0.5])
    assert rates(timed, [50], seconds=400.0) == pytest.approx([0.0])
    plateau = load_config(path, [*base, "optimiser.schedule=plateau", "optimiser.plateau_factor=0.1"])
    assert rates(plateau, [50]) == pytest.approx([0.01])
    with pytest.raises(InputError, match="validation"):
        check_schedule(plateau.optimiser, plateau.training, validates=False)
