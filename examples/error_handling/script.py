"""What the model says, and how it fails: a line for each request."""

from promptstream.errors import RateLimited, Truncated

FAILURES = [
    ["The sea ", "rises."],
    ["It was a dark night", 60, "."],
    [RateLimited("Too many requests.", retry_after=7)],
    ["Half an ans", Truncated("The connection ended before the answer did.")],
    ["Half ", "of it", Truncated("The connection ended before the answer did.")],
]
CALM = [["I ", "am."]]
