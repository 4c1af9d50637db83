"""A listening test that is open: its settings, results and sounds, and what participants and administrators may do."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cadenza_remix.hearing.severity import listener_grade
from cadenza_remix.listen.clips import ClipStore
from cadenza_remix.listen.library import Library, listener_name
from cadenza_remix.listen.panel.additions import Addition
from cadenza_remix.listen.panel.answers import answer_from, volume_from
from cadenza_remix.listen.panel.design import plan_trials
from cadenza_remix.listen.panel.new_rows import ConflictError
from cadenza_remix.listen.panel.questions import answers_from, harmless_in_a_spreadsheet
from cadenza_remix.listen.panel.records import Participant, PlannedTrial
from cadenza_remix.listen.panel.roster import Roster
from cadenza_remix.listen.panel.stimuli import MAX_LOUDNESS_LUFS, StimulusMaker, TrialSounds
from cadenza_remix.listen.panel.store import NotThereError
from cadenza_remix.runs.finished import FinishedRun

_CONTINUES = {"ready": "trial", "break": "trial"}

NOTICE = (
    "Please protect your hearing. Turn the volume of your device all the way down before you put your headphones on."
    " The next page says how to raise it until a test sound is comfortable: never louder than you would talk with"
    " somebody beside you. This page limits its own level, but it cannot know how loud your device plays. Do not turn"
    " the volume up during the test. Take hearing aids out when you wear headphones. If anything is too loud or"
    " unpleasant, stop at once; you may leave at any time."
)
"""What every participant reads before a sound can be played."""


@dataclass(frozen=True)
class PanelLinks:
    """Where people go: each participant's own page by number, whose hearing they have, and the administrators' page.

    ``admin_token`` is None where it was told at an earlier start (the results' file holds its hash alone), or was given
    in the environment.
    """

    participants: Mapping[int, str]
    listeners: Mapping[int, str]
    admin: str
    admin_token: str | None


class Panel:
    """One listening test, for a server.

    Parameters
    ----------
    roster : Roster
        Closed with the panel.
    clips : ClipStore
        Shared with the server that sends the clips.

    Notes
    -----
    Use `Panel.open`, which checks that the test can be held.
    """

    def __init__(self, roster: Roster, clips: ClipStore) -> None:
        self.roster, self.settings, self.store = roster, roster.settings, roster.store
        self.library, self._passages = roster.library, roster.planner.passages
        self._sounds = StimulusMaker(self.settings, self.library, clips)
        self._opened = ExitStack()

    @classmethod
    def open(
        cls,
        test: str | Path,
        results: str | Path | None = None,
        *,
        clips: ClipStore,
        library_of: Callable[[Sequence[FinishedRun]], Library] = Library.from_runs,
    ) -> Panel:
        """Open a test for a server, and hold its file; parameters and errors are those of `Roster.open`.

        Parameters
        ----------
        clips : ClipStore
            Shared with the server that sends the clips.
        """
        with ExitStack() as opened:  # closed again where something fails, by `close` otherwise
            roster = Roster.open(test, results, library_of=library_of)
            opened.callback(roster.close)
            panel = cls(roster, clips)
            opened.callback(panel._sounds.close)
            panel._opened = opened.pop_all()
        return panel

    def close(self) -> None:
        """End the threads and close the file."""
        self._opened.close()

    def links(self, base_url: str) -> PanelLinks:
        """Return everybody's links under the server's address."""
        base = base_url.rstrip("/")
        people = self.store.participants()
        return PanelLinks(
            participants={person.number: f"{base}{self.link(person)}" for person in people},
            listeners={person.number: _whose(person) for person in people},
            admin=f"{base}/admin",
            admin_token=self.roster.admin_token,
        )

    @staticmethod
    def link(person: Participant) -> str:
        """Return the path of a participant's page."""
        return f"/t/{person.token}"

    # what a participant does

    def status(self, token: str) -> dict[str, Any]:
        """Return where a participant stands, and what the test is."""
        person, settings = self.store.participant_of(token), self.settings
        tone = self._sounds.level_tone()
        if person.state in ("welcome", "level", "training", "trial"):
            self._prepare(person)
        asked: dict[str, Any] = {"n_questions": len(settings.questions)} if settings.questions else {}
        if person.state == "questions":
            asked["questions"] = [question.to_dict() for question in settings.questions]
        return {
            "title": settings.title,
            "type": settings.type,
            "instructions": settings.instructions,
            "notice": NOTICE,
            "state": person.state,
            "n_trials": person.n_trials,
            "n_done": person.n_done,
            "n_training": person.n_training,
            "volume": person.volume,
            "scales": [scale.to_dict() for scale in settings.scales],
            "allow_no_preference": settings.allow_no_preference,
            "max_level": {
                "max_peak_dbfs": settings.max_peak_dbfs,
                "max_loudness_lufs": MAX_LOUDNESS_LUFS,
                "loudness_lufs": settings.loudness_lufs,
            },
            "level_tone_url": tone.url,
            "level_tone_gain_lin": tone.gain_lin,
            **asked,
        }

    def begin(self, token: str) -> str:
        """Leave the welcome page; return the new state."""
        person = self.store.participant_of(token)
        if person.state != "level":  # the same request again, whose answer was lost, is fine
            self.store.move(person.number, before="welcome", after="level")
        return "level"

    def set_level(self, token: str, body: Mapping[str, Any]) -> str:
        """Keep the volume of the level check and go on; return the new state."""
        volume = volume_from(body)
        person = self.store.participant_of(token)
        after = "training" if person.n_training else "trial"
        self.store.move(person.number, before="level", after=after, volume=volume)
        return after

    def go_on(self, token: str) -> str:
        """Leave the page between training and test, or a break; return the new state."""
        person = self.store.participant_of(token)
        if person.state not in _CONTINUES:
            raise ConflictError(f"this is not the time for it: expected state {' or '.join(_CONTINUES)}")
        self.store.move(person.number, before=person.state, after=_CONTINUES[person.state])
        return _CONTINUES[person.state]

    def trial(self, token: str) -> tuple[Participant, PlannedTrial, Future[TrialSounds]]:
        """Return the trial at hand, and the promise of its sounds.

        Raises
        ------
        ConflictError
            The participant is not rating now.
        """
        person = self.store.participant_of(token)
        trial = self.store.open_trial(person.number)
        if trial is None or person.state not in ("training", "trial"):
            raise ConflictError("this is not the time for it: expected state training or trial")
        return person, trial, self._sounds.page(person, trial)

    def page(self, person: Participant, trial: PlannedTrial, sounds: TrialSounds) -> dict[str, Any]:
        """Return what a browser needs for a trial: nothing in it tells what stands behind a label."""
        self._prepare(person, beyond=trial.trial)
        return {
            "trial": trial.trial,
            "place": person.n_done + 1,
            "of": person.n_trials,
            "is_training": trial.is_training,
            "song": trial.song,
            "reference": sounds.reference.to_dict() if sounds.reference else None,
            "stimuli": [{"label": label, **sounds.stimuli[label].to_dict()} for label in trial.labels],
            "scales": [scale.to_dict() for scale in self.settings.scales],
            "loop": True,
        }

    def confirm(self, token: str, number: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """Keep an answer; once this returns it is on the disk."""
        person = self.store.participant_of(token)
        trials = {trial.trial: trial for trial in self.store.trials(person.number)}
        if number not in trials:
            if number < min(trials, default=0):
                raise ConflictError(f"trial {number} is a page of settings that were changed since")
            raise NotThereError(f"there is no trial {number}: expected {min(trials)} to {max(trials)}")
        answer = answer_from(body, self.settings, trials[number])
        after = self.store.confirm(
            person.number,
            number,
            answer.ratings,
            seconds=answer.seconds,
            n_plays=answer.n_plays,
            break_every=self.settings.break_every,
        )
        return {"saved": True, "state": after.state, "n_done": after.n_done}

    def answer_questions(self, token: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the answers to the questions; once this returns they are on the disk."""
        person = self.store.participant_of(token)
        after = self.store.confirm_questions(person.number, answers_from(body, self.settings.questions))
        return {"saved": True, "state": after.state}

    def _prepare(self, person: Participant, *, beyond: int = 0) -> None:
        """Begin with the sounds of the next page while this one is being read or rated."""
        trials = self.store.trials(person.number)
        following = next((one for one in trials[person.n_done :] if one.trial > beyond), None)
        if following is not None:
            self._sounds.prepare(person, following)

    # what an administrator does

    def add(self, addition: Addition) -> list[dict[str, Any]]:
        """Take in more participants, and return them as the administrators' page lists them."""
        return [self.entry(person) for person in self.roster.add(addition)]

    def participants(self) -> list[dict[str, Any]]:
        """Return all participants as the administrators' page lists them."""
        return [self.entry(person) for person in self.store.participants()]

    def entry(self, person: Participant) -> dict[str, Any]:
        """Return one participant as the administrators' page lists them."""
        return {
            "number": person.number,
            "label": person.label,
            "link": self.link(person),
            "listener": listener_name(person.listener),
            "severity": person.severity,
            "state": person.state,
            "n_done": person.n_done,
            "n_trials": person.n_trials,
        }

    def links_csv(self, base_url: str) -> str:
        """Return a line for each participant with their link under the server's address; no cell is a formula."""
        base = base_url.rstrip("/")
        columns = ("number", "label", "listener", "state", "link")
        entries = [{**entry, "link": f"{base}{entry['link']}"} for entry in self.participants()]
        rows = [{key: harmless_in_a_spreadsheet(entry[key]) for key in columns} for entry in entries]
        return _csv(columns, rows)

    def overview(self) -> dict[str, Any]:
        """Return the test as the administrators' page shows it."""
        people = self.store.participants()
        settings = self.settings.to_dict()
        for key in ("folder", "participants"):  # the one is of the server's own disk, the others are listed elsewhere
            del settings[key]
        return {
            **settings,
            "results": self.store.path.name,
            "n_trials": len(plan_trials(self.settings, 1, self._passages)),
            "created": self.store.created,
            "n_participants": len(people),
            "n_finished": sum(person.state == "done" for person in people),
            "songs": [{"name": name, "start_s": start, "duration_s": length} for name, start, length in self._passages],
            "listeners": [
                {"id": one.id, "severity": listener_grade(one)}
                for one in (*self.library.listeners, *self.library.standard_listeners)
            ],
        }

    def delete(self, number: int) -> None:
        """Remove all that is known of a participant, the sounds made for them included."""
        trials = [one.trial for one in self.store.trials(number)]
        try:
            self.store.delete(number)
        finally:
            self._sounds.forget(number, trials=trials)

    def answers_csv(self) -> str:
        """Return all answers, one line for each value."""
        columns = (
            "participant", "listener", "severity", "trial", "is_training", "song", "start_s", "duration_s", "label",
            "stimulus", "scale", "value", "seconds", "confirmed", "participant_label",
        )  # fmt: skip
        rows = self.store.answers()
        for row in rows:
            row["participant_label"] = harmless_in_a_spreadsheet(row["participant_label"])
        return _csv(columns, rows)

    def questions_csv(self) -> str:
        """Return all answers to questions, one line for each; no text in them is a formula to a spreadsheet."""
        rows = [
            {key: harmless_in_a_spreadsheet(value) for key, value in row.items()}
            for row in self.store.question_answers()
        ]
        return _csv(("participant", "listener", "question", "value", "participant_label"), rows)


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _whose(person: Participant) -> str:
    """Return label, hearing and its grade in one line."""
    return ", ".join(filter(None, (person.label, listener_name(person.listener), person.severity)))
