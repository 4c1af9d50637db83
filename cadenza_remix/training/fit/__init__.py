"""The training itself: settings, the loop, checkpoints, validation, logs, curves."""
