"""A listening test that is open: its settings, results and sounds, and what participants and administrators may do."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import os
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.hearing.severity import listener_grade
from cadenza_remix.listen.clips import ClipStore
from cadenza_remix.listen.library import Library, listener_name
from cadenza_remix.listen.panel.answers import answer_from, volume_from
from cadenza_remix.listen.panel.config import (
    MOST_PARTICIPANTS,
    ParticipantChoice,
    TestSettings,
    load_test,
    plain_audiogram,
)
from cadenza_remix.listen.panel.database import lock_results, unlock_results
from cadenza_remix.listen.panel.design import plan_trials
from cadenza_remix.listen.panel.questions import answers_from, harmless_in_a_spreadsheet
from cadenza_remix.listen.panel.records import Participant, PlannedTrial
from cadenza_remix.listen.panel.selection import check_listener, check_systems, passages_of
from cadenza_remix.listen.panel.stimuli import MAX_LOUDNESS_LUFS, StimulusMaker, TrialSounds
from cadenza_remix.listen.panel.store import ConflictError, NotThereError, PanelStore
from cadenza_remix.runs.finished import FinishedRun, find_all_runs

ADMIN_TOKEN_VARIABLE = "CADENZA_ADMIN_TOKEN"
_SHORTEST_TOKEN = 16
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
    settings : TestSettings
    library : Library
        Of the test's runs.
    store : PanelStore
    clips : ClipStore
        Shared with the server that sends the clips.

    Notes
    -----
    Use `Panel.open`, which checks that the test can be held.
    """

    def __init__(self, settings: TestSettings, library: Library, store: PanelStore, clips: ClipStore) -> None:
        self.settings, self.library, self.store = settings, library, store
        self._sounds = StimulusMaker(settings, library, clips)
        self._passages = passages_of(settings, library)
        self._admin_token: str | None = None
        self._opened = ExitStack()
        self._adding = threading.Lock()

    @classmethod
    def open(
        cls,
        test: str | Path,
        results: str | Path | None = None,
        *,
        clips: ClipStore,
        library_of: Callable[[Sequence[FinishedRun]], Library] = Library.from_runs,
    ) -> Panel:
        """Open a test: a new one is set up with its participants, an old one goes on.

        Parameters
        ----------
        test : path
            The settings; see `cadenza_remix.listen.panel.config`.
        results : path, optional
            The file of answers; the settings' name with the suffix ``.sqlite`` by default.
        clips : ClipStore
        library_of : callable
            Makes the library of the test's runs.

        Raises
        ------
        InputError
            Something in the settings is wrong, a system, song or listener is not there, or the answers in the file
            were given under other settings, or another server holds the file.
        """
        settings = load_test(test)
        try:
            library = library_of(find_all_runs(settings.runs))
        except InputError as error:
            raise InputError(f"run: {error}", where=test) from error
        try:
            check_systems(settings, library)
            passages = passages_of(settings, library)
            for choice in settings.participants:
                check_listener(settings, library, _listener(library, choice), passages)
        except InputError as error:
            raise InputError(str(error), where=test) from error
        store = PanelStore(results if results is not None else Path(test).with_suffix(".sqlite"), settings.to_dict())
        with ExitStack() as opened:  # closed again where something fails, by `close` otherwise
            opened.callback(store.close)
            opened.callback(unlock_results, store.path, lock_results(store.path))
            panel = cls(settings, library, store, clips)
            opened.callback(panel._sounds.close)
            panel._set_up()
            panel._opened = opened.pop_all()
        return panel

    def _set_up(self) -> None:
        """Make the participants of the settings, once, and see to the administrators' token."""
        given = os.environ.get(ADMIN_TOKEN_VARIABLE)
        if given is not None and len(given) < _SHORTEST_TOKEN:
            raise InputError(
                "too short", where=ADMIN_TOKEN_VARIABLE, expected=f"{_SHORTEST_TOKEN} characters", found=len(given)
            )
        is_new = self.store.admin_token_hash is None
        if is_new:  # the hash comes last: who was killed before it goes on here
            n_made = self.store.next_number() - 1
            for number, choice in enumerate(self.settings.participants[n_made:], start=n_made + 1):
                self._add(number, choice)
        if is_new or given is not None:
            token = given or secrets.token_urlsafe(24)
            self.store.set_admin_token_hash(_digest(token))
            self._admin_token = None if given else token

    def close(self) -> None:
        """End the threads and close the file."""
        self._opened.close()

    def links(self, base_url: str) -> PanelLinks:
        """Return everybody's links under the server's address."""
        base = base_url.rstrip("/")
        people = self.store.participants()
        return PanelLinks(
            participants={person.number: f"{base}{self.link(person)}" for person in people},
            listeners={person.number: f"{listener_name(person.listener)}, {person.severity}" for person in people},
            admin=f"{base}/admin",
            admin_token=self._admin_token,
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
            raise NotThereError(f"there is no trial {number}: expected 1 to {person.n_trials}")
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
        following = next((one for one in trials if one.trial > max(beyond, person.n_done)), None)
        if following is not None:
            self._sounds.prepare(person, following)

    # what an administrator does

    def is_admin(self, token: str) -> bool:
        """Tell whether this is the administrators' token, in a time that tells nothing."""
        return hmac.compare_digest(_digest(token), self.store.admin_token_hash or "")

    def add_participant(self, choice: ParticipantChoice) -> Participant:
        """Take in one more participant.

        Raises
        ------
        InputError
            There is no such listener, or a stimulus cannot be made for them.
        ConflictError
            There are too many.
        """
        with self._adding:  # two administrators at once: each gets a number
            if len(self.store.participants()) >= MOST_PARTICIPANTS:
                raise ConflictError(f"too many participants: at most {MOST_PARTICIPANTS}")
            return self._add(self.store.next_number(), choice)

    def _add(self, number: int, choice: ParticipantChoice) -> Participant:
        listener = _listener(self.library, choice)
        check_listener(self.settings, self.library, listener, self._passages)
        return self.store.add_participant(
            number,
            listener=listener.id,
            audiogram=plain_audiogram(listener.left, listener.right),
            severity=listener_grade(listener),
            trials=plan_trials(self.settings, number, self._passages),
        )

    def participants(self) -> list[dict[str, Any]]:
        """Return all participants as the administrators' page lists them."""
        return [self.entry(person) for person in self.store.participants()]

    def entry(self, person: Participant) -> dict[str, Any]:
        """Return one participant as the administrators' page lists them."""
        return {
            "number": person.number,
            "link": self.link(person),
            "listener": listener_name(person.listener),
            "severity": person.severity,
            "state": person.state,
            "n_done": person.n_done,
            "n_trials": person.n_trials,
        }

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
        person = self.store.participant(number)
        try:
            self.store.delete(number)
        finally:
            self._sounds.forget(number, n_trials=person.n_trials)

    def answers_csv(self) -> str:
        """Return all answers, one line for each value."""
        columns = (
            "participant", "listener", "severity", "trial", "is_training", "song", "start_s", "duration_s", "label",
            "stimulus", "scale", "value", "seconds", "confirmed",
        )  # fmt: skip
        return _csv(columns, self.store.answers())

    def questions_csv(self) -> str:
        """Return all answers to questions, one line for each; no text in them is a formula to a spreadsheet."""
        rows = [
            {key: harmless_in_a_spreadsheet(value) for key, value in row.items()}
            for row in self.store.question_answers()
        ]
        return _csv(("participant", "listener", "question", "value"), rows)


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _listener(library: Library, choice: ParticipantChoice) -> Listener:
    if choice.left is not None and choice.right is not None:
        return library.add_listener(choice.left, choice.right)
    known = {listener.id: listener for listener in (*library.standard_listeners, *library.listeners)}
    if choice.listener not in known:
        raise unknown_name("listener", choice.listener, known)
    return known[choice.listener]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
