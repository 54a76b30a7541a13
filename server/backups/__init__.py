"""Backups: an online copy of the database and the key store, encrypted for people who keep the key elsewhere."""
