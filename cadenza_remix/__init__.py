"""Music in, a listener's audiograms in; out come stems and a remix that the listener hears better, and scores."""
