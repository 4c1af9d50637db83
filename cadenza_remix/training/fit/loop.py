"""The loop of a training: steps, validation, checkpoints; and its exact continuation after any end."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cadenza_remix.atomic import check_writable, write_text
from cadenza_remix.errors import CadenzaError, InputError
from cadenza_remix.runs.shards.claims import Claim
from cadenza_remix.separation.networks.network_cost import network_cost
from cadenza_remix.training.data.prefetch import BatchStream
from cadenza_remix.training.data.songs import StemFile, TrainingSong
from cadenza_remix.training.fit.checkpoints import Checkpoint, Checkpoints, write_checkpoint
from cadenza_remix.training.fit.config import TrainConfig
from cadenza_remix.training.fit.curves import draw_curves
from cadenza_remix.training.fit.data import SongChoice, open_sources
from cadenza_remix.training.fit.export import export_model
from cadenza_remix.training.fit.logs import CsvLog, TensorBoardLog
from cadenza_remix.training.fit.result import Progress, Tell, TrainProgress, TrainResult
from cadenza_remix.training.fit.schedules import check_schedule, learning_rate
from cadenza_remix.training.fit.session import Session, memory_told
from cadenza_remix.training.fit.stopping import Stopping
from cadenza_remix.training.fit.validation import Validation, Validator
from cadenza_remix.training.own_folder import own_folder

#: An improvement of the score that is smaller counts as none.
_LEAST_BETTER = 1e-6


@dataclass
class LoopState:
    """Where a training stands: what a checkpoint keeps beside the variables."""

    step: int = 0
    seconds: float = 0.0
    stepping_s: float = 0.0
    waited_s: float = 0.0
    loss_sum: float = 0.0
    n_losses: int = 0
    loss: float = math.nan
    best_score: float | None = None
    best_step: int = 0
    validated_step: int = 0
    n_worse: int = 0
    n_since_reduction: int = 0
    n_reductions: int = 0
    reason: str = ""
    best: dict[str, Any] = field(default_factory=dict)

    @property
    def waiting_share(self) -> float:
        return self.waited_s / self.stepping_s if self.stepping_s else 0.0

    def note_loss(self, loss: float) -> None:
        self.loss_sum += loss
        self.n_losses += 1

    def take_mean_loss(self) -> float:
        """Return the mean loss since this was last asked for; without any step since then, the same again."""
        if self.n_losses:
            self.loss = self.loss_sum / self.n_losses
        self.loss_sum, self.n_losses = 0.0, 0
        return self.loss

    def as_dict(self) -> dict[str, Any]:
        """Return plain values; a loss that is not known yet is left out, since JSON has no NaN."""
        return {name: value for name, value in asdict(self).items() if value == value}

    def note_validation(self, validation: Validation) -> bool:
        """Take a validation into account; return whether it is the best so far."""
        self.validated_step = self.step
        is_better = self.best_score is None or validation.score > self.best_score + _LEAST_BETTER
        if is_better:
            self.best_score, self.best_step = validation.score, self.step
            self.best = {"valid_loss": validation.loss, "sdr_db": dict(validation.sdr_db)}
        self.n_worse = 0 if is_better else self.n_worse + 1
        self.n_since_reduction = 0 if is_better else self.n_since_reduction + 1
        return is_better


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = True,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> TrainResult:
    """Train a model.

    In the main thread, SIGINT (Ctrl-C) and SIGTERM stop it after the step at hand, when a checkpoint is written; a
    second one ends the process at once.

    Parameters
    ----------
    config : TrainConfig
    out : path
        The run's folder; gets ``config.yaml``, ``log.csv``, ``curves.png``, ``checkpoints/`` and in the end ``model/``,
        and ``tensorboard/`` where that is asked for.
    resume : bool
        Go on where an earlier run in this folder was stopped, however that was: on one thread with the same result to
        the last bit as without the stop. Otherwise begin anew, and remove its checkpoints.
    progress : callable, optional
        Called after each step.
    tell : callable, optional
        Gets a line for what somebody should know (a damaged checkpoint, where the run goes on).

    Raises
    ------
    InputError
        A setting, a song or a checkpoint cannot be used; the loss is no number; the configuration is another one than
        the folder's; another process trains in the folder. Checkpoints that were written stay as they are.
    OutputError
        Something cannot be written, or the disk is full.
    MissingDependencyError
        TensorBoard's package or the back end is not installed.
    KeyboardInterrupt, SystemExit
        After SIGINT; after SIGTERM, with status 143.
    """
    import yaml

    folder, tell = Path(out), tell or (lambda _: None)
    check_writable(folder)
    with own_folder(folder, tell=tell) as claim, memory_told(config):
        loop = _Loop(config, folder, progress=progress, tell=tell, claim=claim)
        loop.begin(resume=resume)
        write_text(folder / "config.yaml", yaml.safe_dump(config.as_dict(), sort_keys=False, allow_unicode=True))
        with loop.session.scope():
            loop.run()
            return loop.finish()


class _Loop:
    def __init__(
        self, config: TrainConfig, folder: Path, *, progress: Progress | None, tell: Tell, claim: Claim
    ) -> None:
        needed = tuple(dict.fromkeys(stem for stems in config.data.targets.values() for stem in stems))
        self.config, self.folder, self._progress, self._tell = config, folder, progress, tell
        self._claim, self._stopping = claim, Stopping(tell)
        self.train_songs = open_sources(config.data.train, split="train", sources_needed=needed)
        self.valid_songs = open_sources(config.data.valid, split="valid", sources_needed=needed)
        _check_held_out(self.train_songs, self.valid_songs)
        check_schedule(config.optimiser, config.training, validates=bool(self.valid_songs.songs))
        self.session = Session.begin(config)
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.state = LoopState()
        self._settings = config.excerpt_settings(self.session.spec, self.train_songs.weights)
        self._tensorboard = TensorBoardLog(folder / "tensorboard") if config.logs.tensorboard else None
        self._validator: Validator | None = None
        self._csv: CsvLog | None = None
        self._saved_at = self._began_at = time.perf_counter()

    def begin(self, *, resume: bool) -> None:
        """Take up the newest checkpoint, or begin anew."""
        if not resume:
            for path in (self.checkpoints.last, self.checkpoints.previous, self.checkpoints.best):
                path.unlink(missing_ok=True)
        self._tell(f"{self.session.spec.architecture}: {network_cost(self.session.network, self.session.spec)}")
        checkpoint = self.checkpoints.read_newest(self._tell)
        if checkpoint is not None:
            state = dict(checkpoint.state)
            _check_same(self.config.must_stay(), state.pop("config"), self.folder)
            with self.session.scope():
                self.session.restore(checkpoint, where=self.checkpoints.last)
            self.state = LoopState(**state)
            self._tell(f"{self.folder}: goes on at step {self.state.step}")
        elif self.session.taken is not None:
            self._tell(str(self.session.taken))
        if self.config.logs.csv:
            columns = ["step", "seconds", "loss", "learning_rate", "waiting_share", "valid_loss"]
            columns += [f"valid_sdr_{stem}_db" for stem in self.session.spec.stems]
            self._csv = CsvLog(self.folder / "log.csv", columns, first_step=self.state.step)

    def run(self) -> None:
        """Do steps until there is a reason to end."""
        state, training = self.state, self.config.training
        self._began_at = time.perf_counter() - state.seconds
        state.reason = "patience" if state.reason == "patience" else self._reason()
        if state.reason and not self._is_validation_due():
            return
        songs = self.train_songs.songs
        options = {"n_workers": training.n_workers, "n_ahead": training.n_ahead}
        try:
            with self._stopping, BatchStream(songs, self._settings, first_step=state.step, **options) as stream:
                self._prepare_validation()
                if state.step and self._is_validation_due():  # it was stopped in the middle of that
                    self._look_back(self._learning_rate())
                self._steps(stream)
        finally:
            if self._tensorboard is not None:
                self._tensorboard.close()

    def finish(self) -> TrainResult:
        """Write the curves and the model's folder."""
        state, spec = self.state, self.session.spec
        if self._csv is not None and state.step:
            draw_curves(self.folder / "log.csv", self.folder / "curves.png", stems=spec.stems, title=self.config.name)
        best = self.checkpoints.best if state.best_score is not None else self.checkpoints.last
        model_path = self.folder / "model"
        export_model(self.config, best, model_path, songs=self.train_songs)
        return TrainResult(
            model_path=model_path,
            n_steps=state.step,
            seconds=state.seconds,
            waiting_share=state.waiting_share,
            reason=state.reason,
            best_step=state.best_step or state.step,
            loss=state.loss,
            valid_loss=state.best.get("valid_loss"),
            sdr_db=state.best.get("sdr_db", {}),
        )

    def _steps(self, stream: BatchStream) -> None:
        state, batches, is_first = self.state, iter(stream), True
        while not state.reason:
            self._leave_if_asked()
            began = time.perf_counter()
            try:
                _, batch = next(batches)
            except CadenzaError:  # what was learned until now is good
                self._save()
                raise
            waited_s = time.perf_counter() - began
            rate = self._learning_rate()
            loss = self.session.step(batch, rate)
            if not math.isfinite(loss):
                expected = "a number (a smaller optimiser.learning_rate or clip_norm helps most often)"
                raise InputError("loss is no number", where=f"step {state.step}", expected=expected, found=loss)
            state.step += 1
            state.note_loss(loss)
            if not is_first:  # the first step compiles, while the workers start
                state.stepping_s += time.perf_counter() - began
                state.waited_s += waited_s
            is_first = False
            state.seconds = time.perf_counter() - self._began_at
            state.reason = self._reason()
            self._look_back(rate, loss)

    def _look_back(self, rate: float, loss: float | None = None) -> None:
        """Validate, log, save and tell, as far as it is time for that."""
        state, training = self.state, self.config.training
        validation = self._validate() if self._is_validation_due() else None
        if validation is not None or state.reason or state.step % self.config.logs.every_steps == 0:
            self._log(rate, validation)
        is_time = time.perf_counter() - self._saved_at >= training.checkpoint_every_s
        if validation is not None or state.reason or is_time:
            self._save()
        if self._progress is not None:
            loss, left_s = state.loss if loss is None else loss, self._seconds_left()
            self._progress(
                TrainProgress(
                    state.step, training.max_steps, loss, rate, state.seconds, left_s, state.waiting_share, validation
                )
            )

    def _leave_if_asked(self) -> None:
        """End here, with a checkpoint, where a signal asked for it; without one where the folder is another's now."""
        if self._claim.lost:
            raise InputError("another process has taken this folder over", where=self.folder, expected="one at a time")
        if self._stopping.asked:
            self._save()
            self._tell(f"{self.folder}: saved at step {self.state.step}")
            self._stopping.leave()

    def _is_validation_due(self) -> bool:
        """Tell whether this step is one of those that are validated, and was not yet."""
        state = self.state
        is_one = state.step % self.config.training.validate_every_steps == 0 or bool(state.reason)
        return is_one and state.validated_step != state.step and bool(self.valid_songs.songs)

    def _validate(self) -> Validation:
        state, config = self.state, self.config
        assert self._validator is not None
        with self.session.averaged():
            validation = self._validator.validate(self.session.model, should_stop=lambda: self._stopping.asked)
            if validation is not None:
                if not math.isfinite(validation.loss):
                    raise InputError("validation loss is no number", where=f"step {state.step}", found=validation.loss)
                if state.note_validation(validation):
                    write_checkpoint(self.checkpoints.best, self._checkpoint())
        if validation is None:
            self._leave_if_asked()
            raise AssertionError("a validation ends early only when asked to")
        if config.optimiser.schedule == "plateau" and state.n_since_reduction >= config.optimiser.plateau_patience:
            state.n_reductions += 1
            state.n_since_reduction = 0
        if config.training.patience and state.n_worse >= config.training.patience:
            state.reason = "patience"
        return validation

    def _log(self, rate: float, validation: Validation | None) -> None:
        state = self.state
        row: dict[str, object] = {
            "step": state.step,
            "seconds": state.seconds,
            "loss": state.take_mean_loss(),
            "learning_rate": rate,
            "waiting_share": state.waiting_share,
        }
        if validation is not None:
            row["valid_loss"] = validation.loss
            row |= {f"valid_sdr_{stem}_db": score for stem, score in validation.sdr_db.items()}
        for log in (self._csv, self._tensorboard):
            if log is not None:
                log.write(row)

    def _save(self) -> None:
        self.state.seconds = max(self.state.seconds, time.perf_counter() - self._began_at)
        self.checkpoints.write_last(self._checkpoint())
        self._saved_at = time.perf_counter()

    def _checkpoint(self) -> Checkpoint:
        return self.session.snapshot({**self.state.as_dict(), "config": self.config.must_stay()})

    def _prepare_validation(self) -> None:
        """Read the fixed excerpts, while the workers make the first batches."""
        if self.valid_songs.songs:
            self._validator = Validator(
                self.valid_songs.songs,
                self.session.spec,
                self._settings,
                self.config.training,
                centroid_songs=self.train_songs.songs,
            )

    def _learning_rate(self) -> float:
        state, config = self.state, self.config
        return learning_rate(
            config.optimiser, config.training, step=state.step, seconds=state.seconds, n_reductions=state.n_reductions
        )

    def _reason(self) -> str:
        """Return why the training ends here; nothing where it goes on."""
        training = self.config.training
        if self.state.step >= training.max_steps:
            return "max_steps"
        is_over = training.max_minutes is not None and self.state.seconds >= 60.0 * training.max_minutes
        return "max_minutes" if is_over and self.state.step else ""

    def _seconds_left(self) -> float:
        state, training = self.state, self.config.training
        by_steps = state.seconds / max(1, state.step) * (training.max_steps - state.step)
        by_clock = math.inf if training.max_minutes is None else 60.0 * training.max_minutes - state.seconds
        return max(0.0, min(by_steps, by_clock))


def _check_held_out(train: SongChoice, valid: SongChoice) -> None:
    """Refuse to validate on what is trained on."""
    trained = {file for song in train.songs for file in _files(song)}
    for song in valid.songs:
        if _files(song) & trained:
            raise InputError("song is trained on and validated on", where=song.name, expected="one of both")


def _files(song: TrainingSong) -> set[StemFile]:
    return {file for files in song.stems.values() for file in files}


def _check_same(now: dict[str, Any], before: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with other settings."""
    for section, values in now.items():
        if values != before.get(section):
            raise InputError(
                "belongs to another configuration",
                where=folder,
                expected=f"the same {section} as in its config.yaml, another --out, or --fresh",
            )
