"""Files, locks, programs, times and text, for all other packages."""
