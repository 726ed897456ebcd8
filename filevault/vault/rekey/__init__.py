"""Give a `file` vault another master key (`docs/format.md` §5)."""
