"""Credential sources: where a profile's credentials begin, one file a source."""
