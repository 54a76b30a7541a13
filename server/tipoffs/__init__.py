"""Tip-offs of the public about venues (SM-08)."""
