"""Typed settings: frozen dataclasses, read from TOML, with unknown keys refused."""
