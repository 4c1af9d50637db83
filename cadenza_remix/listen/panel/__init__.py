"""Listening tests: settings, design, stimuli, answers, analysis."""
