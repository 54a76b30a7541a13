"""The entrance: camera, decoder, verdict, journal, screen, gate, voice and sync."""
