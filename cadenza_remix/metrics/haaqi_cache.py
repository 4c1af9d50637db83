"""References kept for scoring, within a stated amount of memory."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from concurrent.futures import Future

import numpy as np
from numpy.typing import ArrayLike

from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.metrics.haaqi_input import (
    ClarityAudiogram,
    check_equalisation,
    checked_number,
    checked_signal,
    loss_at_model_frequencies,
)
from cadenza_remix.metrics.haaqi_reference import HaaqiReference

_MEGABYTE = 1_000_000


class HaaqiReferenceCache:
    """Prepared references, of which those that were not asked for the longest are let go.

    For scoring several systems against one set of references: each further processed signal costs about half.

    Parameters
    ----------
    max_megabytes : float
        What all kept references together may hold, in 10^6 bytes. A reference takes about 13 MB per second of audio
        and ear (390 MB for 30 s); one that is larger than the limit is prepared and not kept. What callers still hold
        and what is being prepared comes on top: with N threads at most N references more.

    Notes
    -----
    References are known by their content: samples, rate, audiogram, level and equalisation. They are prepared with
    fixed noise only: legacy noise is part of one stream, in which a kept reference would have drawn too early.
    Threads may share a cache. They do not wait for each other, unless they ask for the same reference at the same time:
    then one prepares it for all.

    Examples
    --------
    >>> ear = Audiogram([250, 500, 1000, 2000, 4000, 6000], [10, 15, 20, 30, 45, 50])
    >>> music = np.random.RandomState(1).standard_normal(24000) * 0.05
    >>> cache = HaaqiReferenceCache(max_megabytes=500)
    >>> first = cache.get(music, 24000, audiogram=ear)
    >>> cache.get(music.copy(), 24000, audiogram=ear) is first
    True
    """

    def __init__(self, *, max_megabytes: float) -> None:
        if not checked_number(max_megabytes, "max_megabytes", "MB") >= 0:
            raise InputError("wrong size of a cache", where="max_megabytes", expected="0 or more", found=max_megabytes)
        self._max_bytes = max_megabytes * _MEGABYTE
        self._kept: OrderedDict[bytes, HaaqiReference] = OrderedDict()
        self._in_work: dict[bytes, Future[HaaqiReference]] = {}
        self._n_bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def n_bytes(self) -> int:
        """What the kept references hold."""
        return self._n_bytes

    def get(
        self,
        reference: ArrayLike,
        sample_rate: float,
        *,
        audiogram: Audiogram | ClarityAudiogram,
        equalisation: int = 1,
        level1_db_spl: float = 65.0,
    ) -> HaaqiReference:
        """Return a prepared reference; parameters and errors as for ``HaaqiReference.prepare``."""
        key = _key(reference, sample_rate, audiogram, equalisation, level1_db_spl)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept
            others = self._in_work.get(key)
            mine = None if others is not None else self._in_work.setdefault(key, Future())
        if mine is None:
            assert others is not None
            return others.result()
        try:
            prepared = HaaqiReference.prepare(
                reference,
                sample_rate,
                audiogram=audiogram,
                equalisation=equalisation,
                level1_db_spl=level1_db_spl,
                noise="fixed",
            )
        except BaseException as error:
            with self._lock:
                del self._in_work[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._in_work[key]
            self._keep(key, prepared)
        mine.set_result(prepared)
        return prepared

    def _keep(self, key: bytes, prepared: HaaqiReference) -> None:
        size = prepared.n_bytes
        if size > self._max_bytes:
            return
        while self._n_bytes + size > self._max_bytes:
            self._n_bytes -= self._kept.popitem(last=False)[1].n_bytes
        self._kept[key] = prepared
        self._n_bytes += size


def _key(
    reference: ArrayLike,
    sample_rate: float,
    audiogram: Audiogram | ClarityAudiogram,
    equalisation: int,
    level1_db_spl: float,
) -> bytes:
    check_equalisation(equalisation)
    samples = np.ascontiguousarray(checked_signal(reference, sample_rate, "reference"))
    digest = hashlib.blake2b(samples.data, digest_size=32)
    settings = (
        samples.dtype.str,
        float(sample_rate),
        int(equalisation),
        checked_number(level1_db_spl, "level1", "dB SPL"),
    )
    digest.update(repr(settings).encode())
    digest.update(loss_at_model_frequencies(audiogram).tobytes())
    return digest.digest()
