"""Benchmarks: paired ratios, never absolute times."""
