"""Soak: all servers at once on one store, every answer written down, and a judge of it all."""
