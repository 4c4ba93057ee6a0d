"""One story each: adapt, predict, pretrain, inspect; and what they write."""
