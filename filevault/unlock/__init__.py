"""Passphrases, key files and identities: where they are read and how a person is asked."""
