"""Change the recipients of a `pass` or `age` vault."""
