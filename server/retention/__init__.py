"""Retention: what is destroyed when its time is over, what is held back and why, and how both can be shown."""
