"""Run git on the repositories of a store (`docs/format.md` §9)."""
