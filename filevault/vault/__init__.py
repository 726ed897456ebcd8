"""The vault: its items, its choice, and what this machine remembers and trusts of it."""
