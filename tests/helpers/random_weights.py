"""Random weights for Spleeter's networks, and TensorFlow checkpoints of them as Deezer's training wrote them."""

from pathlib import Path

import numpy as np

from cadenza_remix.separation.models.checkpoint import weight_table
from cadenza_remix.separation.networks.backend import load_tensorflow


def random_variables(card, seed=0):
    """Draw every variable of a card's checkpoint so that signals neither die out nor grow from layer to layer."""
    rng = np.random.default_rng(seed)
    values = {}
    for slot in weight_table(card):
        kind = slot.variable.rpartition("/")[2]
        if kind == "kernel":
            fan_in = 25 * slot.shape[3] / 4 if "transpose" in slot.variable else np.prod(slot.shape[:3])
            drawn = rng.standard_normal(slot.shape, dtype=np.float32) * np.float32(np.sqrt(2 / fan_in))
        elif kind == "gamma":
            drawn = rng.normal(1.0, 0.2, slot.shape)
        elif kind == "moving_variance":
            drawn = rng.uniform(0.5, 2.0, slot.shape)
        elif kind == "global_step":
            drawn = np.int64(1000)
        else:
            drawn = rng.normal(0.0, 0.2, slot.shape)
        values[slot.variable] = np.asarray(drawn, dtype=np.int64 if kind == "global_step" else np.float32)
    return values


def write_checkpoint(folder: Path, variables) -> Path:
    """Write variables by their bare names, as TensorFlow 1's saver did, with the state file beside them."""
    tensorflow = load_tensorflow()
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(variables)
    tensorflow.raw_ops.SaveV2(
        prefix=str(folder / "model"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tensorflow.constant(variables[name]) for name in names],
    )
    (folder / "checkpoint").write_text('model_checkpoint_path: "model"\nall_model_checkpoint_paths: "model"\n')
    return folder
