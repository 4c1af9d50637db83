"""The auditory model behind HAAQI: what a (hearing-impaired) ear makes of a signal, and how two such pictures differ."""
