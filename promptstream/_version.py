"""The version of the distribution; setup.cfg reads it from here."""

__version__ = "0.1.0"
