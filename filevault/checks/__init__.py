"""Checks of a vault that only read: one file for what they look at; none prints or remembers."""
