"""What both sides agree on: credentials, passages, sealing, journal chain, sync messages. Pure: no I/O, no clock."""
