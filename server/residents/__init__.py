"""Residents, their health status, and the dynamic health code that their phone shows."""
