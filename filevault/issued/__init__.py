"""Issued credentials, as a command's environment or as text."""
