"""What the model says where no --provider is named: a line for each request that is sent."""

SCRIPT = [
    ["You could b", "uy sha", "res, a guaranteed pro", "fit."],
    ["You may try the Umb", "rella B", "ank next door."],
    ["Call +1 415 ", "555 0100", " or write to help", "@example.com, any day from Monday to Friday."],
]
