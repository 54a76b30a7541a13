"""The daily check of posters and devices (SM-22)."""
