"""Faults of kiosks and posters (SM-15): reported by people and by the kiosks themselves."""
