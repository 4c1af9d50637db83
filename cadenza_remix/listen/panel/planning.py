"""Who can take part in a test, and what each is going to hear: checked against the runs before anybody is invited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.hearing.severity import listener_grade
from cadenza_remix.listen.library import Library, listener_name
from cadenza_remix.listen.panel.config import (
    MOST_PARTICIPANTS,
    ParticipantChoice,
    TestSettings,
    participant_from,
    plain_audiogram,
)
from cadenza_remix.listen.panel.design import plan_trials
from cadenza_remix.listen.panel.records import NewParticipant
from cadenza_remix.listen.panel.selection import check_listener, check_systems, passages_of


class TestPlanner:
    """Plans the pages of participants of one test.

    Parameters
    ----------
    settings : TestSettings
    library : Library
        Of the test's runs.
    where : path
        The file of settings, for errors.

    Raises
    ------
    InputError
        A system, song or listener of the settings is not there.
    """

    __test__ = False  # not a test of pytest's
    most_participants = MOST_PARTICIPANTS

    def __init__(self, settings: TestSettings, library: Library, where: str | Path) -> None:
        self.settings, self.library = settings, library
        try:
            check_systems(settings, library)
            self.passages = passages_of(settings, library)
            for choice in dict.fromkeys(replace(choice, label=None) for choice in settings.participants):
                self.listener(choice)
        except InputError as error:
            raise InputError(str(error), where=where) from error

    def listener(self, choice: ParticipantChoice) -> Listener:
        """Return whose hearing a participant has; `InputError` where no stimulus can be made for it."""
        if choice.left is not None and choice.right is not None:
            listener = self.library.add_listener(choice.left, choice.right)
        else:
            known = {one.id: one for one in (*self.library.standard_listeners, *self.library.listeners)}
            if choice.listener not in known:
                raise unknown_name("listener", choice.listener, known)
            listener = known[choice.listener]
        check_listener(self.settings, self.library, listener, self.passages)
        return listener

    def plan(self, number: int, listener: Listener, *, label: str | None = None) -> NewParticipant:
        """Return a participant of this number with all pages."""
        return NewParticipant(
            number,
            listener.id,
            plain_audiogram(listener.left, listener.right),
            listener_grade(listener),
            plan_trials(self.settings, number, self.passages),
            label,
        )

    def plan_entry(self, number: int, entry: Mapping[str, Any]) -> NewParticipant:
        """Return the plan of an entry of the settings' participants, as plain values."""
        choice = participant_from(entry)
        return self.plan(number, self.listener(choice), label=choice.label)

    def plan_again(self, number: int, listener: str, audiogram: Mapping[str, Any]) -> NewParticipant:
        """Return the plan of somebody who takes part already; `InputError` where they cannot under these settings."""
        is_own = listener_name(listener) != listener
        return self.plan_entry(number, {"audiogram": audiogram} if is_own else {"listener": listener})
