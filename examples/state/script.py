"""What the model says where no --provider is named: a line for each request."""

BEGIN = [["Bergen, ", "for the fjords."]]
AGAIN = [
    ["By train: ", "it is the finest line there is."],
    ["It is three weeks ", "on foot."],
    ["Two seats, ", "by the window."],
]
