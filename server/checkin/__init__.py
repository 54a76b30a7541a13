"""Checking in by phone: the page behind a scanned poster, the record of it, and the reference that staff check."""
