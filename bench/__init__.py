"""Timings of the hot paths: ``make bench``."""
