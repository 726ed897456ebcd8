"""Ways to get an MFA token code, one file a way."""
