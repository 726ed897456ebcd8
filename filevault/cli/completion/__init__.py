"""Completion of command lines in shells: the scripts, and the words that filevault answers."""
