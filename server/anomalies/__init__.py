"""Looks that somebody should ask about: rules over the vault's log, each occurrence a case for the data officer."""
