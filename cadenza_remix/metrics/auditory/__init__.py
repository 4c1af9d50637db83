"""The auditory model behind HAAQI: what an ear makes of a signal, and how two such pictures differ."""
