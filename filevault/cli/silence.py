"""SilentReporter: a reporter for a run in the background, whose only result is its outcome."""

from __future__ import annotations

from filevault.cli.reporter import Reporter


class SilentReporter(Reporter):
    """Prints nothing: what matters was said by the first run, with a person at the terminal."""

    def say(self, text: str) -> None:
        """Print nothing."""
