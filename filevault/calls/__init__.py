"""Calls to AWS STS that return temporary credentials, one file a call."""
