"""The `file` backend: items under a master key that passphrases and key files unwrap."""
