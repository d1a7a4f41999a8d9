"""Drives a strategy through the market."""
