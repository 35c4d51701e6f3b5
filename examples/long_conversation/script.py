"""What the model says where no --provider is named: a line for each request."""

ANSWERS = [
    ["Nice to meet you, Ada! ", "That sounds like a fine way to make a living, at sea and in all weathers."],
    ["The blue whale: ", "up to thirty metres, and as heavy as thirty elephants."],
    ["Cuvier's beaked whale: ", "almost three kilometres, for more than three hours."],
    ["You told me at the beginning: ", "Ada."],
]
FORGOTTEN = [*ANSWERS[:-1], ["I do not know: ", "you have not told me."]]
SUMMARISED = [*ANSWERS[:3], ["Ada counts whales. ", "The blue one is the largest."], ANSWERS[3]]
