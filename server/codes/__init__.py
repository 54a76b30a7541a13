"""Venue codes: issued for an entrance, printed, posted, replaced, revoked."""
