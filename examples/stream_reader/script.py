"""What the model says where no --provider is named: a line for each request."""

from promptstream import Usage

SCRIPT = [
    ["Air scatters ", "blue light ", "the most.", Usage(24, 9)],
    ["Because ", 60, "it is."],
]
