"""The sealed file of format 1: header, key schedule and cipher (`docs/format.md` §4-6)."""
