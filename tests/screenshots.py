"""The screenshots of the pages: terminal sessions of real runs, as SVG in `docs/images`.

`make screenshots` writes them; a test compares them with new runs. What differs from run to run or
between machines, such as ids, versions and the name of the home directory, is replaced by the
samples below. An SVG is text in a frame, so it is written here: no package is needed for it, and
nothing in it is loaded from elsewhere.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.launch.prefork import Prefork
from tests.samples import EXAMPLE_ID, OTHER_SECRET
from tests.worlds import terminal
from tests.worlds.damage import flip
from tests.worlds.machine import PASSPHRASE, PROGRAM, ROOT, TIMEOUT, Machine, TypedAnswer

FOLDER = ROOT / "docs/images"
HOME = "/home/jon"
# Each kind of value that is new in every run, and what its first, second... one is shown as.
SAMPLES = (
    (r"AKIA[A-Z2-7]{16}", ("AKIA6Z7NUQSNZVL6YQ34", "AKIA6Z7NUQSNX2M4KTPD")),
    (r"\b[0-9a-f]{64}\b", ("7fd5c173f9379ec94746065290272a0d21ba3c87a727f8a486d467650989e17c",)),
    (r"(?<=for jon: )\d{6}\b", ("992036", "427683")),
    (r"(?<=/)filevault-\d+\b", ("filevault-1795600800000000000",)),
    (r"(?<=\.\.\.)[A-Z2-7]{4}(?= of jon)", ("KTPD",)),
    (r"\b[0-9a-f]{32}\b", ("aa76b523f6f9ceee05dae771f053c395",)),
    (r"(?m)^  filevault     .*$", ("  filevault     0.1.0",)),
    (r"(?m)^  python        .*$", ("  python        3.13.5 on Linux 6.12.48",)),
    (r"(?m)^  botocore      .*$", ("  botocore      1.44.8",)),
    (r"(?m)^  cryptography  .*$", ("  cryptography  50.0.2",)),
)
PROFILES = ("dev", "staging", "prod-admin", "prod-billing", "prod-read", "sandbox")
STYLE = (
    "text{font:14px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
    "fill:#d6deeb;white-space:pre}.c{fill:#a5e075;font-weight:bold}"
)
WIDTH, HEIGHT, MARGIN, BAR = 8.4, 19, 16, 34  # pixels: a character, a line, around, at the top
COLUMNS = 100  # of the terminal: longer lines are continued in the next one
PICKER = (76, 10)  # columns and lines of the terminal with the list of profiles
ERASE_LINE = "\x1b[K"


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

    def run(self, command: str, *typed: tuple[str, str], status: int = 0) -> None:
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
        assert ended.status == status, (command, ended)
        # A line that is written again, as a line of progress is, shows what came last.
        text = re.sub(rf"[^\n]*\r(?:{re.escape(ERASE_LINE)})?", "", ended.text)
        text = text.replace(ERASE_LINE, "")
        assert "\x1b" not in text, "this writer knows no other escape sequences"
        self.lines.append(f"$ {command}")
        for line in text.replace(home, HOME).splitlines():
            starts = range(0, max(1, len(line)), COLUMNS)
            self.lines += [line[start : start + COLUMNS] for start in starts]

    def pick(self, command: str, keys: str, shown: str) -> None:
        """Type keys into the list of profiles in a real terminal, tmux, until it shows a text."""
        tmux = [tool("tmux"), "-S", str(self.machine.home / "tmux"), "-f", "/dev/null"]
        env = self.machine.environment({"TERM": "xterm", "LAUNCH": None})

        def call(*argv: str) -> str:
            done = subprocess.run([*tmux, *argv], env=env, stdout=subprocess.PIPE, check=True)
            return done.stdout.decode()

        def until(text: str) -> str:
            end = time.monotonic() + TIMEOUT
            while text not in (screen := call("capture-pane", "-p")):
                assert time.monotonic() < end, screen
                time.sleep(0.02)
            return screen

        columns, lines = map(str, PICKER)
        words = [*PROGRAM, *command.split()[1:]]
        call("new-session", "-d", "-x", columns, "-y", lines, *words)
        try:
            until("profile:")
            call("send-keys", keys)
            self.lines += [f"$ {command}", *until(shown).rstrip().splitlines()]
        finally:
            call("kill-server")

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
    return [first, second, *_more(session)]


def _more(session: _Session) -> list[Screenshot]:
    """Look around in the home of the first two pictures."""
    machine = session.machine
    machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    found = []

    def take(name: str, title: str) -> None:
        found.append(Screenshot(name, title, session.taken()))

    session.run("filevault list admin")
    take("list", "What a profile is")
    session.run("filevault exec admn -- aws s3 ls", status=125)
    take("hint", "An error, and the way out")
    session.run("filevault verify")
    item = machine.vault / "jon.fv"
    whole = item.read_bytes()
    flip(item)
    session.run("filevault verify", status=6)
    item.write_bytes(whole)
    take("verify", "A vault as it should be, and one with a damaged item")
    _trap(machine)
    machine.env |= {"AWS_SECURITY_TOKEN": "x", "PATH": "/nonexistent"}
    session.run("filevault doctor")
    take("doctor", "What is used here, and what misleads it")
    with machine.config.open("a", encoding="utf-8") as file:
        file.writelines(f"\n[profile {name}]\nregion = eu-central-1\n" for name in PROFILES)
    session.pick("filevault exec -- aws s3 ls", "prod", "3 of 8")
    take("picker", "Choose a profile")
    return found


def _trap(machine: Machine) -> None:
    """Leave a key where SDKs find it."""
    path = machine.home / ".aws/credentials"
    path.write_text(
        f"[default]\naws_access_key_id = {EXAMPLE_ID}\naws_secret_access_key = {OTHER_SECRET}\n"
    )
    path.chmod(0o600)


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
