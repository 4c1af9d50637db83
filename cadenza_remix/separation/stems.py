"""The parts that a song was separated into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cadenza_remix.audio.signal import STEMS, Audio
from cadenza_remix.errors import InputError

PIANO = "piano"


class Stems(Mapping[str, Audio]):
    """Stereo stems by name, all of one rate and length, in a fixed order; cannot be changed.

    Parameters
    ----------
    stems : mapping of str to Audio
        At least one; two channels each.

    Raises
    ------
    InputError
        No stem, a stem that is not in stereo, or stems that differ in rate or length.
    """

    def __init__(self, stems: Mapping[str, Audio]) -> None:
        if not stems:
            raise InputError("no stems", expected="at least one", found=0)
        self._stems = dict(stems)
        first_name, first = next(iter(self._stems.items()))
        for name, audio in self._stems.items():
            if audio.n_channels != 2:
                raise InputError("stem is not in stereo", where=name, expected="2 channels", found=audio.n_channels)
            if audio.sample_rate != first.sample_rate:
                raise InputError(
                    "stems differ in sample rate",
                    where=name,
                    expected=f"{first.sample_rate} Hz as {first_name}",
                    found=f"{audio.sample_rate} Hz",
                )
            if audio.n_samples != first.n_samples:
                raise InputError(
                    "stems differ in length",
                    where=name,
                    expected=f"{first.n_samples} samples as {first_name}",
                    found=audio.n_samples,
                )

    def __getitem__(self, name: str) -> Audio:
        return self._stems[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stems)

    def __len__(self) -> int:
        return len(self._stems)

    def __repr__(self) -> str:
        return f"Stems({', '.join(self)}; {self.n_samples} samples at {self.sample_rate} Hz)"

    @property
    def sample_rate(self) -> int:
        """Sample rate of all stems in Hz."""
        return next(iter(self._stems.values())).sample_rate

    @property
    def n_samples(self) -> int:
        """Length of all stems in samples."""
        return next(iter(self._stems.values())).n_samples


def has_vdbo(names: tuple[str, ...]) -> bool:
    """Tell whether stems of these names can be brought to vocals, drums, bass and other."""
    return set(names) - {PIANO} == set(STEMS)


def to_vdbo(stems: Stems) -> Stems:
    """Return vocals, drums, bass and other, in this order; a piano stem is added to other.

    Raises
    ------
    InputError
        A stem is missing (a two-stem separation), or there is one that belongs nowhere.
    """
    if not has_vdbo(tuple(stems)):
        raise InputError(
            "not separated into the four stems that a remix needs",
            expected=", ".join(STEMS) + f" (and perhaps {PIANO})",
            found=", ".join(stems),
        )
    if PIANO not in stems:
        return Stems({name: stems[name] for name in STEMS})
    other = stems["other"]
    merged = Audio(other.samples + stems[PIANO].samples, other.sample_rate, other.name)
    return Stems({name: merged if name == "other" else stems[name] for name in STEMS})
