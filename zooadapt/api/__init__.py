"""What Python programs use: `adapt`, `load`, `plan`, `inspect`, `families` and `Model`."""
