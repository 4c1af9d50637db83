"""The synthetic band: songs whose stems add up to the mixture, made from a seed."""
