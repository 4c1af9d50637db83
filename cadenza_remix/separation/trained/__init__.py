"""Models that were trained here: their folders, and the separator that runs them."""

#: What tells a trained model's folder from others.
CARD_NAME = "model.json"
