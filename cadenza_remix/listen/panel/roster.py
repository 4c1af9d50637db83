"""Who takes part in a listening test: the participants of its settings, and those who are added."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from cadenza_remix.errors import InputError
from cadenza_remix.listen.library import Library
from cadenza_remix.listen.panel.additions import Addition
from cadenza_remix.listen.panel.config import TestSettings, load_test
from cadenza_remix.listen.panel.lock import HeldError, ResultsLock, address_of_holder
from cadenza_remix.listen.panel.new_rows import NumberTakenError
from cadenza_remix.listen.panel.planning import TestPlanner
from cadenza_remix.listen.panel.records import Participant
from cadenza_remix.listen.panel.store import PanelStore
from cadenza_remix.runs.finished import FinishedRun, find_all_runs

ADMIN_TOKEN_VARIABLE = "CADENZA_ADMIN_TOKEN"
_SHORTEST_TOKEN = 16
_MOST_TRIES = 20


class Roster:
    """The participants of one listening test.

    ``admin_token`` is None where it was told at an earlier start (the results' file holds its hash alone), or was given
    in the environment.

    Notes
    -----
    Use `Roster.open`, which checks that the test can be held.
    """

    def __init__(self, settings: TestSettings, planner: TestPlanner, store: PanelStore) -> None:
        self.settings, self.planner, self.store = settings, planner, store
        self.library = planner.library
        self.admin_token: str | None = None
        self._lock: ResultsLock | None = None
        self._opened = ExitStack()
        self._adding = threading.Lock()

    @classmethod
    def open(
        cls,
        test: str | Path,
        results: str | Path | None = None,
        *,
        is_server: bool = True,
        library_of: Callable[[Sequence[FinishedRun]], Library] = Library.from_runs,
    ) -> Roster:
        """Open a test: a new one is set up with its participants, an old one goes on.

        A server takes settings over that were changed where nobody has answered anything; ``store.change`` tells of it.

        Parameters
        ----------
        test : path
            The settings; see `cadenza_remix.listen.panel.config`.
        results : path, optional
            The file of answers; the settings' name with the suffix ``.sqlite`` by default.
        is_server : bool
            Others can have the file beside a server that has set it up, and only under the same settings.
        library_of : callable
            Makes the library of the test's runs.

        Raises
        ------
        InputError
            Something in the settings is wrong, a system, song or listener is not there, the answers in the file were
            given under other settings, or another server holds the file.
        OutputError
            The file cannot be made, written or locked.
        """
        settings = load_test(test)
        try:
            library = library_of(find_all_runs(settings.runs))
        except InputError as error:
            raise InputError(f"run: {error}", where=test) from error
        planner = TestPlanner(settings, library, test)
        path = Path(results) if results is not None else Path(test).with_suffix(".sqlite")
        lock = None
        with ExitStack() as opened:  # closed again where something fails, by `close` otherwise
            try:
                lock = ResultsLock(path)
                opened.callback(lock.release)
            except HeldError:
                if is_server:
                    raise
            store = PanelStore(
                path, settings.to_dict(), planner=planner if is_server else None, is_named=results is not None
            )
            opened.callback(store.close)
            roster = cls(settings, planner, store)
            roster._lock = lock
            if lock is not None:
                roster._set_up()
            elif store.admin_token_hash is None:
                raise InputError("a server is just setting up this test", where=path, expected="a moment's patience")
            roster._opened = opened.pop_all()
        return roster

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
            choices = enumerate(self.settings.participants[n_made:], start=n_made + 1)
            people = [
                self.planner.plan(number, self.planner.listener(choice), label=choice.label)
                for number, choice in choices
            ]
            self.store.add_participants(people)
        if is_new or given is not None:
            token = given or secrets.token_urlsafe(24)
            self.store.set_admin_token_hash(_digest(token))
            self.admin_token = None if given else token

    @property
    def server_address(self) -> str | None:
        """Where the server is that holds the file; None where none does, or it has not told yet."""
        return address_of_holder(self.store.path) if self._lock is None else None

    def note_address(self, address: str) -> None:
        """Let those who add participants know where this server is."""
        if self._lock is not None:
            self._lock.note_address(address)

    def close(self) -> None:
        """Close the file, and let others have it."""
        self._opened.close()

    def is_admin(self, token: str) -> bool:
        """Tell whether this is the administrators' token, in a time that tells nothing."""
        return hmac.compare_digest(_digest(token), self.store.admin_token_hash or "")

    def add(self, addition: Addition) -> list[Participant]:
        """Take in more participants: all of them, or none.

        Raises
        ------
        InputError
            There is no such listener, or a stimulus cannot be made for them.
        ConflictError
            There are too many, or somebody has one of the labels.
        """
        with self._adding:
            listener = self.planner.listener(addition.choice)
            tries = _MOST_TRIES
            while True:
                first = self.store.next_number()
                people = [
                    self.planner.plan(number, listener, label=label)
                    for number, label in enumerate(addition.labels, start=first)
                ]
                try:
                    return self.store.add_participants(people, most=self.planner.most_participants)
                except NumberTakenError:  # by another program, after we asked for the next one
                    tries -= 1
                    if not tries:
                        raise


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
