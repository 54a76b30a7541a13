"""One pure codec a device: bytes in, events out, no I/O, no clock, bounded memory."""
