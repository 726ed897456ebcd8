"""Long-term keys and everything around them: the vault, its items, what is trusted of it."""
