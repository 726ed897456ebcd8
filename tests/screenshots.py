"""The screenshots of the pages: terminal sessions of real runs, as SVG in `docs/images`.

`make screenshots` writes them; a test compares them with new runs. What differs from run to run,
ids and the name of the home directory, is replaced by the samples below. An SVG is text in a
frame, so it is written here: no package is needed for it, and nothing in it is loaded from
elsewhere.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from tests.fakes import FakeAws
from tests.launch.prefork import Prefork
from tests.worlds import terminal
from tests.worlds.machine import PASSPHRASE, ROOT, Machine, TypedAnswer

FOLDER = ROOT / "docs/images"
HOME = "/home/jon"
# Each kind of value that is new in every run, and what its first, second... one is shown as.
SAMPLES = (
    (r"AKIA[A-Z2-7]{16}", ("AKIA6Z7NUQSNZVL6YQ34", "AKIA6Z7NUQSNX2M4KTPD")),
    (r"\b[0-9a-f]{64}\b", ("7fd5c173f9379ec94746065290272a0d21ba3c87a727f8a486d467650989e17c",)),
    (r"(?<=for jon: )\d{6}\b", ("992036", "427683")),
    (r"(?<=/)filevault-\d+\b", ("filevault-1795600800000000000",)),
)
STYLE = (
    "text{font:14px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
    "fill:#d6deeb;white-space:pre}.c{fill:#a5e075;font-weight:bold}"
)
WIDTH, HEIGHT, MARGIN, BAR = 8.4, 19, 16, 34  # pixels: a character, a line, around, at the top


class Screenshot(NamedTuple):
    """A screen with its file name, its title and its lines; commands begin with `$ `."""

    name: str
    title: str
    lines: list[str]


class _Session:
    """One home, and the terminal in which commands run one after another."""

    def __init__(self, folder: Path, aws: FakeAws) -> None:
        self.machine = Machine(folder / "home")
        self.machine.env["AWS_ENDPOINT_URL"] = aws.url
        # The clocks stand still: durations are round. Near the real time, for the AWS CLI.
        now = float(int(aws.clock()))
        aws.clock.freeze(now)
        self.machine.freeze(now)
        self.lines: list[str] = []

    def run(self, command: str, *typed: tuple[str, str]) -> None:
        """Run a command line of words without quotes, and keep what the terminal shows."""
        program, *argv = command.split()
        env = self.machine.environment()
        home = str(self.machine.home)

        def start(slave: int) -> subprocess.Popen[bytes]:
            streams: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": slave}
            return Prefork(argv, terminal=0, env=env, cwd=home, **streams)

        ended = terminal.watch(
            start if program == "filevault" else terminal.starting([program, *argv], env, home),
            [TypedAnswer(*each) for each in typed],
        )
        assert ended.status == 0, (command, ended)
        assert "\x1b" not in ended.text, "this writer knows no escape sequences"
        self.lines += [f"$ {command}", *ended.text.replace(home, HOME).splitlines()]

    def taken(self) -> list[str]:
        """Return the lines since the last call."""
        lines, self.lines = [line.rstrip() for line in self.lines], []
        return lines


def screenshots() -> list[Screenshot]:
    """Run the sessions and return their screens."""
    with FakeAws() as aws, tempfile.TemporaryDirectory(prefix="filevault-") as folder:
        found = _run(_Session(Path(folder), aws), aws)
    return _with_samples(found)


def _run(session: _Session, aws: FakeAws) -> list[Screenshot]:
    user = aws.add_user("jonsmith", mfa=True)
    role = aws.add_role("admin", trusts=[user], require_mfa=True)
    passphrase = ("Passphrase for", PASSPHRASE)
    session.run("filevault init", ("New passphrase", PASSPHRASE), ("The same", PASSPHRASE))
    session.run(
        f"filevault add jon --region eu-central-1 --mfa-serial {user.mfa_serial}",
        passphrase,
        ("Access key id", user.access_key_id),
        ("Secret access key", user.secret_access_key),
    )
    with session.machine.config.open("a", encoding="utf-8") as file:
        file.write(
            f"\n[profile admin]\nsource_profile = jon\nrole_arn = {role.arn}\n"
            f"mfa_serial = {user.mfa_serial}\nregion = eu-central-1\n"
        )
    session.run("tail -n 5 .aws/config")
    who = "aws sts get-caller-identity --output text --query Arn"
    session.run(f"filevault exec admin -- {who}", passphrase, ("MFA code of", user.totp()))
    first = Screenshot("first-session", "From a new vault to a session of a role", session.taken())
    aws.clock.advance(30)  # AWS takes each code once
    session.run("filevault rotate jon", passphrase, ("MFA code of", user.totp()))
    second = Screenshot("rotate", "Replace a key", session.taken())
    return [first, second]


def _with_samples(found: Sequence[Screenshot]) -> list[Screenshot]:
    """Replace what is new in every run, the same value by the same sample in all screens."""
    known: dict[str, str] = {}
    for pattern, samples in SAMPLES:
        text = "\n".join(line for each in found for line in each.lines)
        values = dict.fromkeys(re.findall(pattern, text))
        known |= dict(zip(values, samples, strict=True))
    replaced = []
    for each in found:
        text = "\n".join(each.lines)
        for value, sample in known.items():
            text = text.replace(value, sample)
        replaced.append(each._replace(lines=text.split("\n")))
    return replaced


def svg(shot: Screenshot) -> str:
    """Draw a screen; a reader of the file finds its text line by line."""
    width = round(max(len(line) for line in shot.lines) * WIDTH + 2 * MARGIN)
    height = BAR + len(shot.lines) * HEIGHT + MARGIN
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(shot.title)}</title>",
        f"<style>{STYLE}</style>",
        '<rect width="100%" height="100%" rx="8" fill="#10151d"/>',
    ]
    parts += [
        f'<circle cx="{MARGIN + 4 + 18 * n}" cy="17" r="5" fill="#3d4757"/>' for n in range(3)
    ]
    for number, line in enumerate(shot.lines):
        if line:
            # The length keeps columns in place in every font.
            kind = ' class="c"' if line.startswith("$ ") else ""
            parts.append(
                f'<text x="{MARGIN}" y="{BAR + 13 + number * HEIGHT}"{kind} xml:space="preserve" '
                f'textLength="{len(line) * WIDTH:.1f}" lengthAdjust="spacingAndGlyphs">'
                f"{escape(line)}</text>"
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for picture in screenshots():
        (FOLDER / f"{picture.name}.svg").write_text(svg(picture), encoding="utf-8")
