"""A prompt and many rows in, a result of each out: in threads, in processes, or on other machines."""

from promptstream.batch.batch import Batch, map
from promptstream.batch.result import Result
from promptstream.batch.source import read_rows
from promptstream.batch.summary import Summary

__all__ = ["Batch", "Result", "Summary", "map", "read_rows"]
