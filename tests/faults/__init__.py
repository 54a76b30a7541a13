"""What processes, disks and networks do to us, and what must hold all the same."""
