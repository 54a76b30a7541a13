"""Approved queries: who asks, who approves, and the look itself. The vault judges all of it again."""
