"""Tests of the room of backups."""
