"""Other tools' formats for long-term AWS keys: read for `import`, and edited to take keys out."""
