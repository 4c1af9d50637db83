"""Music in, a listener's audiograms in; out come stems and a remix that this listener hears better, and their scores."""
