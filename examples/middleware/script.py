"""What the model says where no --provider is named: a line for each request."""

SCRIPT = [["Mike ", "Powell, ", "since 1991."], ["8.95 metres, ", "or 29 feet and 4 1/4 inches."]]
