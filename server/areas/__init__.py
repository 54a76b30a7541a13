"""The one tree of areas that every right and every list is scoped to."""
