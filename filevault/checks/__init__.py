"""Checks of a vault and of a machine that only read, one file for each subject; none prints."""
