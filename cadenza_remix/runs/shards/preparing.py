"""From settings to a run's folder: everything is checked, then the plan is made and kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median

from cadenza_remix.atomic import check_writable
from cadenza_remix.audio.io import audio_duration_s
from cadenza_remix.errors import InputError, ModelError
from cadenza_remix.runs.shards.config import RunConfig
from cadenza_remix.runs.shards.folder import RunFolder
from cadenza_remix.runs.shards.inputs import RunInputs, begin, keep_inputs, read_inputs
from cadenza_remix.runs.shards.plan import Plan, PlannedSong, Speeds, make_plan, read_plan
from cadenza_remix.separation.loading import AUTO, Store, choose_separator, is_model_path, load_separator
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.separation.separator import Separator
from cadenza_remix.separation.stems import has_vdbo

_A_SONG_S = 240.0  # where not a single song tells how long it is

Count = Callable[[Plan], tuple[int, int]]
"""From a plan of one shard per stage to how many shards of ``demix`` and of ``pairs`` there should be."""


def open_separator(config: RunConfig, *, store: Store | None = None) -> Separator:
    """Load the separator that the settings name; ``auto`` becomes what it means on this machine.

    ``store``: where to look for our own models; the user's by default.

    Raises
    ------
    InputError, ModelError, MissingDependencyError
        No such separator or option, or it is not on this machine: the line says how to get it.
    """
    settings = dict(config.separator)
    name = str(settings.pop("model"))
    if name == AUTO:
        name = choose_separator(store).name
    separator = load_separator(name, store=store, options=SeparationOptions(**settings))
    if not has_vdbo(separator.stems):
        raise InputError(
            "does not separate into the four stems that a remix needs", where=separator.name,
            expected="vocals, drums, bass, other", found=", ".join(separator.stems),
        )  # fmt: skip
    return separator


def plan_run(config: RunConfig, *, out: Path, count: Count, notify: Callable[[str], None] = lambda _: None) -> Plan:
    """Check everything that the settings name, and make the plan; nothing is written.

    Parameters
    ----------
    config : RunConfig
    out : Path
        The folder of the run.
    count : callable
        How many shards there should be; see `Count`.
    notify : callable
        Told of songs whose duration cannot be read: they are planned as of average length, and fail when it is their
        turn.

    Raises
    ------
    InputError, ModelError, MissingDependencyError
        The first fault.
    """
    inputs = read_inputs(config, out=out)
    return _plan(config, inputs, count, notify)


def prepare_run(
    config: RunConfig, *, out: str | Path, count: Count, notify: Callable[[str], None] = lambda _: None
) -> tuple[RunFolder, Plan]:
    """Make the folder of a run with settings and plan in it, or take up the one that is there.

    As long as nobody has worked on a run, it is planned anew. Afterwards its shards stay, but where a trained model was
    trained anew in its folder, the plan takes the new weights, and everything that depends on them is made again.

    Raises
    ------
    InputError, ModelError, MissingDependencyError
        As `plan_run`; the folder holds another run.
    OutputError
        The folder cannot be written.
    """
    folder = RunFolder(Path(out).absolute())
    try:
        if folder.root.exists() and not folder.root.is_dir():
            raise InputError("is no folder", where=folder.root, expected="a folder for the run")
        is_planned = folder.plan.exists()
    except OSError as error:
        raise InputError("cannot be used", where=folder.root, expected="a folder", found=error.strerror) from error
    if is_planned:
        begin(config, folder)
        plan = read_plan(folder.plan)
        if any(folder.all_journals.iterdir()) if folder.all_journals.is_dir() else False:
            # Somebody has worked on its shards: they stay what they are.
            return folder, _with_model_of_now(plan, config, folder, notify)
    inputs = read_inputs(config, out=folder.root)
    plan = _plan(config, inputs, count, notify)
    check_writable(folder.root)
    begin(config, folder)
    keep_inputs(config, inputs, folder)
    plan.write(folder.plan)  # last: a folder with a plan is a whole one
    return folder, plan


def _plan(config: RunConfig, inputs: RunInputs, count: Count, notify: Callable[[str], None]) -> Plan:
    separator = open_separator(config)
    songs = _planned_songs(inputs, notify)
    names = {"name": separator.name, "fingerprint": separator.fingerprint}

    def plan(n_demix: int, n_pairs: int) -> Plan:
        return make_plan(
            songs, inputs.pairs, n_demix_shards=n_demix, n_pairs_shards=n_pairs, speeds=config.speeds or Speeds(),
            separator=names, is_scored=inputs.references is not None,
        )  # fmt: skip

    return plan(*count(plan(1, 1)))


def _with_model_of_now(plan: Plan, config: RunConfig, folder: RunFolder, notify: Callable[[str], None]) -> Plan:
    """Return the plan with the weights that a trained model's folder holds now, and keep it so."""
    if not is_model_path(str(config.separator["model"])):
        return plan
    try:
        separator = open_separator(config)
    except (InputError, ModelError):  # told when it is needed
        return plan
    names = {"name": separator.name, "fingerprint": separator.fingerprint}
    if names == dict(plan.separator):
        return plan
    notify(f"{config.separator['model']}: another model than this run began with: its stems are made anew")
    plan = replace(plan, separator=names)
    plan.write(folder.plan)
    return plan


def _planned_songs(inputs: RunInputs, notify: Callable[[str], None]) -> dict[str, PlannedSong]:
    durations: dict[str, float] = {}
    for name, song in inputs.songs.items():
        with suppress(InputError):
            durations[name] = audio_duration_s(song.path)
        if name not in durations:
            notify(f"{song.path}: its duration cannot be read; it is planned like the others, and told when it fails")
    usual_s = median(durations.values()) if durations else _A_SONG_S
    planned = {}
    for name in inputs.songs:
        duration_s = durations.get(name, usual_s)
        scored_s = inputs.segments[name].objective.duration_s if inputs.segments else duration_s
        planned[name] = PlannedSong(round(duration_s, 3), round(scored_s, 3))
    return planned
