"""Applications of venue operators for codes (SM-01)."""
