"""Separators that other packages run, in our windows and behind our protocol; each needs its extra installed."""
