"""The `age` backend: items as passage keeps them."""
