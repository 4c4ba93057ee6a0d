"""Heads fitted in closed form, and all that their held-out predictions tell."""
