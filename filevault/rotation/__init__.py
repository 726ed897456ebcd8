"""Replacing a stored key by a new one, so that a crash at any moment loses nothing.

The state of a rotation lies in the item itself (`docs/format.md` §3): one atomic replacement of
one file moves it on, and the next run finishes or undoes what a crash left.
"""
