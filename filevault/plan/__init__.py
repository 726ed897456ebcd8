"""The plan that leads from a profile to its credentials, and the providers that carry it out."""
