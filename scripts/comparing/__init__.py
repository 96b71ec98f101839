"""The parts of compare-servers."""
