"""The `pass` backend: items encrypted by gpg."""
