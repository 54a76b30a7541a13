"""The server: venues, codes, kiosks, ingest, vault, queries and the console."""
