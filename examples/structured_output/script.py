"""What the model says where no --provider is named: a line for each request."""

SCRIPT = [
    [
        *(
            '{"title": "Pan',
            'cakes", "course": "dessert", "ingred',
            'ients": [{"name": "flour", "gra',
            'ms": 250}, {"name": "mi',
        ),
        *('lk", "grams": 500.5}', ', {"name": "eggs", "grams": 120}], "minutes"', ": 30}"),
    ],
    '{"title": "Lemonade", "course": "drink", "ingredients": [{"name": "lemons", "grams": -3}]}',
    '{"title": "Lemonade", "course": "starter", "ingredients": [{"name": "lemons", "grams": 300}]}',
]
