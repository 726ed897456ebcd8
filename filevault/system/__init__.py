"""Files, locks, programs, times and text: what every other package builds on."""
