"""Runs due actions: publishing bundles, indexing, forgetting what is over."""
