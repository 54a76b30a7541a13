"""The workflow kernel: one way for everything that has a life cycle to move, wait, escalate and be looked at."""
