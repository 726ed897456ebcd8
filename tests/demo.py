"""`make demo`: the main job from an empty home to a cached session, against a local AWS stand-in.

Every command is the real program, run as a person would type it; nothing is left behind.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PASSPHRASE = "a demo is no place for secrets"
REGION = "eu-central-1"


class Tour:
    """A fresh home, and a shell that shows what it runs."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.env = {
            "HOME": str(home),
            "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "AWS_ENDPOINT_URL": url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "FILEVAULT_PASSPHRASE": PASSPHRASE,
        }

    def tell(self, text: str) -> None:
        """Print a line of the tour."""
        print(f"\n# {text}", flush=True)

    def run(self, command: str, *, stdin: str | None = None) -> float:
        """Show a command, run it, show what it prints; return its seconds."""
        print(f"$ {command}", flush=True)
        began = time.perf_counter()
        done = subprocess.run(
            shlex.split(command),
            env=self.env,
            cwd=self.home,
            input=stdin,
            text=True,
            stdin=subprocess.DEVNULL if stdin is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        seconds = time.perf_counter() - began
        print(done.stdout, end="", flush=True)
        if done.returncode != 0:
            sys.exit(f"the demo failed: {command} ended with status {done.returncode}")
        return seconds


def main() -> int:
    """Give the tour."""
    sys.path.insert(0, str(ROOT))
    from tests.fakes import FakeAws

    with FakeAws() as fake, tempfile.TemporaryDirectory(prefix="filevault-demo-") as folder:
        user = fake.add_user("jonsmith", mfa=True)
        role = fake.add_role("admin", trusts=[user], require_mfa=True)
        tour = Tour(Path(folder), fake.url)
        code = shlex.join(
            [
                sys.executable,
                str(ROOT / "tests/fakes/remote.py"),
                fake.url,
                "totp",
                json.dumps({"serial": user.mfa_serial}),
            ]
        )
        key = {
            "AccessKey": {
                "AccessKeyId": user.access_key_id,
                "SecretAccessKey": user.secret_access_key,
                "CreateDate": "2026-10-01T09:30:00Z",
            }
        }
        print("filevault, from an empty home directory. AWS is a stand-in on this machine;")
        print("the passphrase comes from FILEVAULT_PASSPHRASE, as a CI job would give it.")

        tour.tell("A vault: a folder of encrypted files, opened by a passphrase.")
        tour.run("filevault init")

        tour.tell("A long-term key goes in, as `aws iam create-access-key` printed it.")
        tour.run(
            f"filevault add work --stdin --region {REGION} --mfa-serial {user.mfa_serial}",
            stdin=json.dumps(key),
        )

        tour.tell("A role profile, as every AWS tool knows it. mfa_process answers for the person.")
        config = tour.home / ".aws/config"
        with config.open("a", encoding="utf-8") as file:
            file.write(
                f"mfa_process = {code}\n\n[profile admin]\nsource_profile = work\n"
                f"role_arn = {role.arn}\nmfa_serial = {user.mfa_serial}\nregion = {REGION}\n"
            )
        tour.run("filevault list")

        tour.tell("What would happen, and why; nothing is called, nothing is unlocked.")
        tour.run("filevault exec admin --explain")

        tour.tell("The real AWS CLI, with a session of the plain profile.")
        tour.run("filevault exec work -- aws sts get-caller-identity --output text")

        tour.tell("And with the role: the MFA session from before serves, no second code.")
        cold = tour.run("filevault exec admin -- aws sts get-caller-identity --output text")

        tour.tell("The same again: both sessions are cached, AWS is not asked for any.")
        before = len(fake.calls)
        cached = tour.run("filevault exec admin -- /bin/true")
        assert len(fake.calls) == before, "the cached run called AWS"
        print(
            f"  {cached * 1000:.0f} ms from start to end; the passphrase's key derivation is in it"
        )
        print(f"  (the first run of the role took {cold * 1000:.0f} ms, the AWS CLI included)")

        tour.tell("What is stored now. No file below holds a key in the clear.")
        tour.run("filevault list")
        secret = user.secret_access_key.encode()
        for path in sorted(tour.home.rglob("*")):
            if path.is_file():
                assert secret not in path.read_bytes(), f"{path} holds the secret"
                print(f"  {path.stat().st_mode & 0o777:o} {path.relative_to(tour.home)}")

        made = " ".join(call.action for call in fake.calls if call.action != "GetCallerIdentity")
        print(f"\nAll that filevault asked of AWS: {made}.")
        print("The demo's home directory is deleted now.")
    assert not os.path.exists(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
