"""Songs to train on: data sets in their layouts, what they hold, excerpts of them in batches."""
