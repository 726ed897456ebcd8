"""Sources of passphrases, key files and age identities, and questions to the user."""
