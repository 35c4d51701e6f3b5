"""Packs: a JSON file of prompts goes in, the system prompt and the parameters of a turn come out.

``pack.load`` is the way in. Nothing here sends anything; importing this package alone loads nothing.
"""
