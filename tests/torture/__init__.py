"""Kills and hurts real processes on real files, over and over, and checks what is left (docs/torture.md)."""
