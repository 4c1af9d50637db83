"""How good a network is by now: its loss on fixed excerpts, and the SDR of songs that it separates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.blocks import AudioBlocks
from cadenza_remix.audio.signal import Audio
from cadenza_remix.metrics.separation import snr_db
from cadenza_remix.separation.options import HighBand
from cadenza_remix.separation.trained.engine import SAMPLE_RATE, PatchEngine
from cadenza_remix.separation.trained.masks import Inference, rest_index
from cadenza_remix.training.data.excerpts import ExcerptSettings, make_batch
from cadenza_remix.training.data.songs import TrainingSong
from cadenza_remix.training.fit.config import TrainingConfig
from cadenza_remix.training.fit.data import read_targets, valid_settings
from cadenza_remix.units import db_to_lin, rms

if TYPE_CHECKING:
    from cadenza_remix.separation.networks.architectures import NetworkSpec

#: For centroids, bins of a patch within so many dB of its loudest count.
_HEARD_DB = 40.0
#: A stem so far below its mixture says nothing of a separation: every leak into it counts without end.
_QUIET_DB = 40.0
_SILENT = 1e-6


@dataclass(frozen=True)
class Validation:
    """What one validation found.

    Parameters
    ----------
    loss : float
        Mean over the fixed excerpts.
    sdr_db : mapping of str to float
        Of each stem, the mean over songs; empty where no songs are separated; a stem that sounds in none is left out.
    """

    loss: float
    sdr_db: Mapping[str, float]

    @property
    def score(self) -> float:
        """What should become large: the mean SDR, or without songs the negative loss."""
        return sum(self.sdr_db.values()) / len(self.sdr_db) if self.sdr_db else -self.loss


class Validator:
    """Validates a network on songs that it is not trained on.

    Parameters
    ----------
    songs : sequence of TrainingSong
    spec : NetworkSpec
    settings : ExcerptSettings
        Those of the training.
    training : TrainingConfig
    centroid_songs : sequence of TrainingSong
        Of the training; a network with nothing but embeddings gets its centroids from excerpts of these.
    """

    def __init__(
        self,
        songs: Sequence[TrainingSong],
        spec: NetworkSpec,
        settings: ExcerptSettings,
        training: TrainingConfig,
        *,
        centroid_songs: Sequence[TrainingSong],
    ) -> None:
        self._spec, self._settings, self._seconds = spec, settings, training.n_valid_s
        self._songs = list(songs)[: training.n_valid_songs] if training.n_valid_s != 0 else []
        self._centroid_songs = centroid_songs
        fixed = valid_settings(settings)
        n_batches = training.n_valid_batches if songs else 0
        self._batches = [make_batch(songs, fixed, index) for index in range(n_batches)]

    def validate(self, model: Any, *, should_stop: Callable[[], bool] = lambda: False) -> Validation | None:
        """Validate a trainee as it is now; None where it was asked to stop before the end."""
        losses = []
        for batch in self._batches:
            if should_stop():
                return None
            model.reset_metrics()
            losses.append(float(model.test_on_batch(batch, return_dict=True)["loss"]))
        sdr_db = self.sdr_db(model.network, should_stop) if self._songs else {}
        return None if sdr_db is None else Validation(sum(losses) / len(losses), sdr_db)

    def sdr_db(self, network: Any, should_stop: Callable[[], bool] = lambda: False) -> dict[str, float] | None:
        """Separate the songs at 44.1 kHz, as `TrainedSeparator` does, and return each stem's mean SDR.

        A stem that is silent in a song, or nearly, does not count there. None where it was asked to stop.
        """
        high_band: HighBand = "zeros" if rest_index(self._spec.stems) is None else "residual"
        inference = inference_of(network, self._spec, self._settings, self._centroid_songs)
        engine = PatchEngine(self._spec, inference, predict_function(network), high_band=high_band)
        scores: dict[str, list[float]] = {stem: [] for stem in self._spec.stems}
        for song in self._songs:
            targets = read_targets(song, self._settings, sample_rate=SAMPLE_RATE, seconds=self._seconds)
            mixture = Audio(targets.sum(axis=0), SAMPLE_RATE, song.name)
            threshold = max(rms(mixture.samples) * float(db_to_lin(-_QUIET_DB)), _SILENT)
            blocks = []
            for block in engine.separate(AudioBlocks(mixture).blocks()):
                if should_stop():
                    return None
                blocks.append(block)
            estimates = np.concatenate(blocks, axis=-1)
            for stem, target, estimate in zip(scores, targets, estimates, strict=True):
                if rms(target) >= threshold:
                    scores[stem].append(snr_db(target, estimate.T))
        means = {stem: [score for score in found if math.isfinite(score)] for stem, found in scores.items()}
        return {stem: sum(found) / len(found) for stem, found in means.items() if found}


def inference_of(
    network: Any, spec: NetworkSpec, settings: ExcerptSettings, songs: Sequence[TrainingSong]
) -> Inference:
    """Return what is done with a network's outputs: masks where it has some, clusters of its embeddings otherwise.

    Centroids are those of one batch of excerpts of some songs, always the same one.
    """
    if "masks" in network.output:
        return Inference()
    batch = make_batch(songs, valid_settings(settings), 0)
    return Inference(kind="clusters", centroids=mean_centroids(network, spec, batch))


def predict_function(network: Any) -> Callable[[NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Return the function from magnitudes to the network's outputs in single precision."""

    def predict(magnitudes: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        outputs = network.predict_on_batch(magnitudes)
        return {name: np.asarray(output, dtype=np.float32) for name, output in outputs.items()}

    return predict


def mean_centroids(network: Any, spec: NetworkSpec, batch: NDArray[np.float32]) -> tuple[tuple[float, ...], ...]:
    """Return the mean embedding of each stem over the bins in which it is the loudest, weighted by their loudness."""
    from cadenza_remix.separation.stft import Stft
    from cadenza_remix.separation.trained.clustering import mean_embeddings

    stft = Stft(spec.frame_length, spec.hop_length, spec.fft_length)
    predict = predict_function(network)
    embeddings, shares = [], []
    for stems in batch:
        spectra = np.stack([stft.analyse(np.ascontiguousarray(stem.T)) for stem in stems])[..., : spec.n_bins]
        magnitudes = np.abs(spectra.sum(axis=0)).transpose(1, 2, 0)
        embeddings.append(predict(magnitudes[np.newaxis].astype(np.float32))["embeddings"][0])
        powers = np.square(np.abs(spectra)).sum(axis=1)  # (stems, frames, bins)
        loudness = magnitudes.mean(axis=-1)
        is_heard = loudness > loudness.max() * 10.0 ** (-_HEARD_DB / 20.0)
        loudest = np.eye(len(stems))[powers.argmax(axis=0)]
        shares.append(loudest * (loudness * is_heard)[..., np.newaxis])
    means = mean_embeddings(np.stack(embeddings), np.stack(shares))
    return tuple(tuple(float(value) for value in row) for row in means)
