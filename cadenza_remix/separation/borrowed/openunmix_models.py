"""Open-Unmix (package ``openunmix``): recurrent networks on spectrograms, and the package's own Wiener filter.

Stöter, Uhlich, Liutkus & Mitsufuji, "Open-Unmix - A Reference Implementation for Music Source Separation", JOSS 2019;
model ``umxhq``. The package takes a song as a whole, with a Wiener filter (one step of EM) on 300 frames at a time;
here it is cut into windows of 2400 frames that begin at multiples of 300, so that the filter sees the same frames but
for the seams. A song that fits into one window gives exactly what the package gives.
"""

from __future__ import annotations

from typing import Any

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

SERVER = "https://zenodo.org/records/3370489/files/"
FILES = ("vocals-b62c91ce.pth", "drums-9619578f.pth", "bass-8d85a5bd.pth", "other-b52fbbf7.pth")
_HOP = 1024
#: 56 s, of which 7 s overlap. The least: half a frame is mirrored at both ends, for which there must be something.
WINDOWS = Windows(length=2400 * _HOP, overlap=300 * _HOP, least=4096)


def load_openunmix(
    name: str, *, options: SeparationOptions | None = None, network: Any = None, windows: Windows = WINDOWS
) -> WindowedSeparator:
    """Build Open-Unmix's separator.

    Parameters
    ----------
    name : str
        ``openunmix:umxhq``.
    options : SeparationOptions, optional
        Only the device.
    network : openunmix.model.Separator, optional
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
    openunmix = import_module("openunmix", card)
    import_module("openunmix.model", card)
    device = torch_device(options.device, card)
    if network is None:
        with fetching(card, {weights_file("checkpoints", file): SERVER + file for file in FILES}):
            network = openunmix.umxhq(targets=list(card.stems), device="cpu")
    network = network.to(device).eval()
    return WindowedSeparator(
        name,
        window_function(network, tuple(network.target_models), device),
        stems=card.stems,
        sample_rate=card.sample_rate,
        windows=windows,
        fingerprint=weights_fingerprint(network),
        device=device_name(device),
    )
