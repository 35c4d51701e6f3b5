"""Bytes in, events out. Knows HTTP, knows no provider."""
