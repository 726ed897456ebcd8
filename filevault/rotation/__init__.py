"""Rotation: replace a stored key by a new one, so that a crash at any step loses nothing.

The state of a rotation is kept in the item itself (`docs/format.md` §3). Each step replaces one
file atomically, and the next run finishes or undoes what an interrupted one left.
"""
