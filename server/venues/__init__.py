"""Venues and their entrances."""
