"""The version, in a file that imports nothing: any layer may ask for it."""

__version__ = "0.1.0"
