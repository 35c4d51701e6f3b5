"""What the model says where no --provider is named: an answer for each row that can be sent."""

from promptstream import Usage

SCRIPT = [[word, Usage(30, 2)] for word in ("Happy.", "Angry.", "Unsure.", "Angry.", "Happy.")]
