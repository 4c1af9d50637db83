"""What HAAQI answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HaaqiFeatures:
    """What the index is made of, each from 0 (nothing in common) to 1 (the same).

    ``cepstral_correlation``: of envelope modulations from 20 to 125 Hz; ``vibration_coherence``: of the temporal fine
    structure; ``loudness_match`` and ``spectral_balance_match``: of long-term spectra.
    """

    cepstral_correlation: float
    vibration_coherence: float
    loudness_match: float
    spectral_balance_match: float


@dataclass(frozen=True)
class HaaqiResult:
    """A HAAQI score and its parts.

    ``nonlinear`` joins cepstral correlation and vibration coherence, ``linear`` the two spectral matches. ``features``
    is None where the reference is silent and there is nothing to compare.
    """

    score: float
    nonlinear: float
    linear: float
    features: HaaqiFeatures | None

    @classmethod
    def from_features(cls, parts: HaaqiFeatures) -> HaaqiResult:
        """Combine features by the polynomial that was fitted to listeners' ratings."""
        nonlinear = 0.754 * parts.cepstral_correlation**3 + 0.246 * parts.vibration_coherence
        linear = 0.329 * parts.loudness_match + 0.671 * parts.spectral_balance_match
        score = 0.336 * nonlinear + 0.001 * linear + 0.501 * nonlinear**2 + 0.161 * linear**2
        return cls(score, nonlinear, linear, parts)
