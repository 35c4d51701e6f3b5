"""The embedded model: its dialect, its server, its weights."""
