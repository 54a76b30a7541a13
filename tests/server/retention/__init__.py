"""Tests of the room of retention."""
