"""Random bytes in, every difference from what is promised out: ``python -m tests.fuzz``."""
