"""Promises of the entrance hardware: no invented temperature, no forgotten gate, everything comes back by itself."""
