"""Property tests of this folder run without hypothesis's time limit: a busy machine is not a bug."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("protocol", deadline=None)
settings.load_profile("protocol")
