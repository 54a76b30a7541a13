"""Inspections, rectification orders and their re-checks (SM-07)."""
