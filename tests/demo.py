"""`make demo`: what filevault does in a day, against a local stand-in for AWS.

Every command is the real program in a terminal, with what a person would type; nothing is left
behind. It needs filevault's own dependencies only.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PASSPHRASE = "a demo is no place for secrets"
REGION = "eu-central-1"
ROLES = ("dev", "test", "prod")
CLIENT = """\
import boto3
session = boto3.Session()
name = session.client("sts").get_caller_identity()["Arn"].split(":", 5)[5]
print(name, "with credentials by", session.get_credentials().method)
"""


class Tour:
    """A fresh home, and a terminal that shows what runs there."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.began = time.monotonic()
        self.parts = 0
        self.env = {
            "HOME": str(home),
            "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "AWS_ENDPOINT_URL": url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def tell(self, text: str) -> None:
        """Print what comes next."""
        self.parts += 1
        print(f"\n# {self.parts}. {text}", flush=True)

    def run(
        self,
        command: str,
        typed: Sequence[tuple[str, str]] = (),
        *,
        status: int = 0,
        kill_at: str = "",
    ) -> None:
        """Show a command, and run it in a terminal of its own.

        `typed` has questions and the answers to them. `status` is what it must end with.
        """
        from tests.worlds.machine import TypedAnswer
        from tests.worlds.terminal import starting, watch

        print(f"$ {command}", flush=True)
        ended = watch(
            starting(["/bin/sh", "-c", f"exec {command}"], self.env, str(self.home)),
            [TypedAnswer(*each) for each in typed],
            kill_at=kill_at,
            show=lambda part: print(part, end="", flush=True),
        )
        self._check(command, ended.status, status)

    def run_without_terminal(self, command: str, *, status: int) -> None:
        """Show a command, and run it as a cron job runs."""
        print(f"$ {command}  # as a cron job", flush=True)
        done = subprocess.run(
            shlex.split(command),
            env=self.env,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        print(done.stdout, end="", flush=True)
        self._check(command, done.returncode, status)

    def _check(self, command: str, status: int, wanted: int) -> None:
        if status != wanted:
            sys.exit(f"the demo failed: {command} ended with status {status}")


def tour(folder: Path) -> None:
    """Give the tour, with an empty folder as the home."""
    from tests.fakes import FakeAws, stall

    with FakeAws() as fake:
        user = fake.add_user("jonsmith", mfa=True)
        roles = [fake.add_role(name, trusts=[user], require_mfa=True) for name in ROLES]
        serial = user.mfa_serial
        shell = Tour(folder, fake.url)
        passphrase = ("Passphrase for", PASSPHRASE)

        def code() -> tuple[str, str]:
            return ("MFA code of", user.totp())

        (folder / "whoami.py").write_text(CLIENT, encoding="utf-8")
        try:
            shell.tell("A vault: a folder of encrypted files. (Passphrases are not echoed.)")
            again = ("The same again", PASSPHRASE)
            shell.run("filevault init", [("New passphrase", PASSPHRASE), again])

            shell.tell("A long-term key goes in.")
            shell.run(
                f"filevault add jon --region {REGION} --mfa-serial {serial}",
                [
                    passphrase,
                    ("Access key id", user.access_key_id),
                    ("Secret access key", user.secret_access_key),
                ],
            )

            shell.tell("Three roles, as every AWS tool knows them, in ~/.aws/config:")
            text = "".join(
                f"\n[profile {role.name}]\nsource_profile = jon\nrole_arn = {role.arn}\n"
                f"mfa_serial = {serial}\nregion = {REGION}\n"
                for role in roles
            )
            print(text.split("\n\n")[0].strip())
            print("...and the same for test and prod.")
            with (folder / ".aws/config").open("a", encoding="utf-8") as file:
                file.write(text)

            shell.tell("What a command would do, and why. Nothing is called or unlocked for that.")
            shell.run("filevault exec prod --explain")

            shell.tell("One MFA code, three roles; the program is a client of boto3.")
            shell.run("filevault exec dev -- python whoami.py", [passphrase, code()])
            shell.run("filevault exec test -- python whoami.py")
            shell.run("filevault exec prod -- python whoami.py")

            shell.tell("The sessions are cached, encrypted. The next command asks nothing.")
            before = len(fake.calls)
            began = time.perf_counter()
            shell.run("filevault exec prod -- /bin/true")
            milliseconds = (time.perf_counter() - began) * 1000
            assert len(fake.calls) == before, "the cached run called AWS"
            print(f"{milliseconds:.0f} ms from start to end, no call to AWS.")
            shell.run("filevault list")

            shell.tell("Lock for lunch. Without a terminal a question is an error, with a hint.")
            shell.run("filevault status")
            shell.run("filevault lock")
            shell.run_without_terminal("filevault exec dev -- python whoami.py", status=125)
            shell.run("filevault unlock", [passphrase])

            shell.tell("An SDK asks for credentials itself: export as credential_process.")
            profile = (
                f"[profile sdk]\nregion = {REGION}\n"
                "credential_process = filevault export dev --format json\n"
            )
            print(profile, end="")
            with (folder / ".aws/config").open("a", encoding="utf-8") as file:
                file.write(f"\n{profile}")
            shell.run("env AWS_PROFILE=sdk python whoami.py")

            shell.tell("For a long job: an endpoint on loopback that always has a valid session.")
            shell.run("filevault exec test --server -- python whoami.py")

            shell.tell("A name that is mistyped.")
            shell.run("filevault exec prodd -- python whoami.py", status=125)

            shell.tell("The key is replaced, and the machine dies in the middle of it (kill -9).")
            fake.arm(stall(60), action="UpdateAccessKey")
            fake.clock.advance(30)  # AWS takes each code once
            rotate = "filevault rotate jon"
            moment = "deactivating the old key"
            shell.run(rotate, [passphrase, code()], kill_at=moment, status=-9)
            fake.faults.release()
            fake.clock.advance(30)
            print(f"Killed. AWS has {len(user.keys)} keys of the user now, both active.")
            shell.run(rotate, [passphrase, code()])
            assert len(user.keys) == 1, "the rotation left a key"
            print("AWS has 1 key of the user, the one in the vault.")

            shell.tell("What is stored. No file below holds a key in the clear.")
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.name != "whoami.py":
                    data = path.read_bytes()
                    assert not any(each.encode() in data for each in fake.issued_secrets()), path
                    print(f"{path.stat().st_mode & 0o777:o} ~/{path.relative_to(folder)}")
        finally:
            shell.tell("The cached keys are forgotten, and the folder of the demo is deleted.")
            if (folder / ".local/share/filevault").exists():
                shell.run("filevault lock")
        calls = {call.action: 0 for call in fake.calls if call.action != "GetCallerIdentity"}
        for call in fake.calls:
            if call.action in calls:
                calls[call.action] += 1
        told = ", ".join(f"{number} {action}" for action, number in calls.items())
        print(f"\nAll that filevault asked of AWS: {told}.")
        print(f"The tour took {time.monotonic() - shell.began:.0f} s. Now: docs/tutorial.md")


def main() -> int:
    """Give the tour in a folder that is deleted afterwards."""
    print("filevault, from an empty home directory to a rotated key. AWS is a stand-in on this")
    print(
        "machine; filevault and its client boto3 are real. A script types the answers.", flush=True
    )
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory(prefix="filevault-demo-") as folder:
        tour(Path(folder))
    assert not os.path.exists(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
