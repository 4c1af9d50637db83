"""Hybrid Demucs in the package ``torchaudio``: what the baseline of the First Cadenza Challenge separates with.

A. Défossez, "Hybrid spectrogram and waveform source separation", MDX workshop at ISMIR 2021; the weights trained on
MUSDB18-HQ alone (``HDEMUCS_HIGH_MUSDB``). Songs are normalised as a whole. The windows are as long as the baseline's
(11 s), but overlap by a quarter instead of 0.1 s; the baseline also fades at the outer ends of its windows, so that
every 11 s a moment of the song is lost there.
"""

from __future__ import annotations

from typing import Any

from cadenza_remix.separation.borrowed.normalised import NormalisedSeparator
from cadenza_remix.separation.borrowed.torch_window import (
    check_options,
    device_name,
    fetching,
    import_module,
    torch_device,
    weights_file,
    weights_fingerprint,
    window_function,
)
from cadenza_remix.separation.models.registry import separator_card
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.separation.windows import WindowedSeparator, Windows

SERVER = "https://download.pytorch.org/torchaudio/"
ASSET = "models/hdemucs_high_musdbhq_only.pt"
WINDOWS = Windows(length=11 * 44_100, overlap=11 * 44_100 // 4, least=1)


def load_torchaudio(
    name: str, *, options: SeparationOptions | None = None, network: Any = None, windows: Windows = WINDOWS
) -> NormalisedSeparator:
    """Build torchaudio's separator.

    Parameters
    ----------
    name : str
        ``torchaudio:hdemucs_high``.
    options : SeparationOptions, optional
        Only the device.
    network : torch.nn.Module, optional
        To be used in place of the published one; for tests.
    windows : Windows, optional
        How songs are cut.

    Raises
    ------
    InputError
        An option that is not known, or no GPU.
    MissingDependencyError
        The package is not installed.
    ModelError
        Its weights cannot be had.
    """
    card = separator_card(name)
    options = options or SeparationOptions()
    check_options(options, card)
    pipelines = import_module("torchaudio.pipelines", card)
    device = torch_device(options.device, card)
    if network is None:
        with fetching(card, {weights_file("torchaudio", ASSET): SERVER + ASSET}):
            network = pipelines.HDEMUCS_HIGH_MUSDB.get_model()
    network = network.to(device).eval()
    windowed = WindowedSeparator(
        name,
        window_function(network, tuple(network.sources), device),
        stems=card.stems,
        sample_rate=card.sample_rate,
        windows=windows,
        fingerprint=weights_fingerprint(network),
        device=device_name(device),
    )
    return NormalisedSeparator(windowed)
