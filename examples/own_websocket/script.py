"""What the model says where no --provider is named: a line for each request."""

from promptstream.errors import Overloaded

SCRIPT = [
    ["A robot ", "found a flower."],
    ["It ", "rusted", Overloaded("The provider is busy.")],
]
