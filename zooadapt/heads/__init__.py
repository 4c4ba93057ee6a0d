"""Heads fitted in closed form, and what is measured on their held-out predictions."""
