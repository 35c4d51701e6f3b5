"""What the model says where no --provider is named: a line for each request."""

SCRIPT = [
    ["Nothing yet, Ada. ", "Shall I show you around?"],
    ["Two herrings and tea, Madam."],
    ["It came this morning, Grace."],
]
