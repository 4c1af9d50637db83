"""Pretrained models: which there are, how they get onto this machine, and how their weights are read."""
