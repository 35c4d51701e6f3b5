"""The Nth fallible call of a request made to fail, for every N: ``python -m tests.torture``."""
