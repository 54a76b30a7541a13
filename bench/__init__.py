"""Benchmarks: `./run bench [NAME]` runs bench/NAME.py, prints a table and writes JSON to bench/results/."""
