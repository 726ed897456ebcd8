"""The files of a release: wheel, sdist, SBOM and checksums, built from the last commit.

`make dist` writes them into `dist/`. The archives are built two times, in two folders and with
other settings of the machine, and are written only if both builds are equal to the byte.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SUMS = "SHA256SUMS"
DIRECTLY = ("--sdist", "--wheel")  # without them the wheel is built from the sdist
# What a second machine may have otherwise, with umask 077.
OTHERWISE = {"TZ": "Asia/Kathmandu", "LANG": "C", "LC_ALL": "C", "HOME": "/nonexistent"}


def source_time(root: Path) -> int:
    """Return the Unix time that all files of the archives get.

    It is SOURCE_DATE_EPOCH (reproducible-builds.org), the time of the last commit, or in an
    unpacked sdist the one that this sdist was built with.
    """
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    if (root / ".git").exists():
        return int(_git(root, "log", "-1", "--format=%ct"))
    return int((root / "PKG-INFO").stat().st_mtime)


def export(root: Path, tree: Path) -> None:
    """Write the last commit to a folder; of an unpacked sdist, a copy."""
    if not (root / ".git").exists():
        shutil.copytree(root, tree, symlinks=True, ignore=shutil.ignore_patterns(".*", "dist"))
        return
    with tarfile.open(fileobj=io.BytesIO(_git(root, "archive", "HEAD"))) as archive:
        # Python 3.11.4 brought the filter.
        options: dict[str, Any] = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
        archive.extractall(tree, **options)


def build(
    tree: Path, out: Path, epoch: int, *options: str, env: Mapping[str, str] | None = None
) -> None:
    """Build the archives of a folder, with the build back end that is installed here."""
    argv = [sys.executable, "-m", "build", "--no-isolation", *options]
    _run(
        [*argv, "--outdir", str(out), str(tree)],
        {**os.environ, **(env or {}), "SOURCE_DATE_EPOCH": str(epoch)},
    )


def describe(folder: Path, epoch: int) -> None:
    """Write the SBOM and the checksums of the archives in a folder."""
    from tests.sbom import sbom

    archives = sorted([*folder.glob("*.whl"), *folder.glob("*.tar.gz")])
    (sdist,) = folder.glob("*.tar.gz")
    bom = folder / f"{sdist.name.removesuffix('.tar.gz')}.cdx.json"
    text = json.dumps(sbom(archives, epoch), indent=2, ensure_ascii=False)
    bom.write_text(f"{text}\n", encoding="utf-8")
    # The form that `sha256sum --check` reads.
    lines = [f"{digest(path)}  {path.name}\n" for path in [*archives, bom]]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    """Write the files of a release into `dist/`."""
    epoch = source_time(ROOT)
    if (ROOT / ".git").exists() and _git(ROOT, "status", "--porcelain", "--untracked-files=no"):
        print("changes that are not committed are not in the archives", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="filevault-dist-") as name:
        folder = Path(name)
        first, second = folder / "first", folder / "second"
        export(ROOT, folder / "a")
        build(folder / "a", first, epoch, *DIRECTLY)
        before = os.umask(0o077)
        export(ROOT, folder / "another-name")
        build(folder / "another-name", second, epoch, env=OTHERWISE)
        os.umask(before)
        for path in sorted(first.iterdir()):
            if digest(path) != digest(second / path.name):
                print(f"two builds of {path.name} differ", file=sys.stderr)
                return 1
        describe(first, epoch)
        target = ROOT / "dist"
        target.mkdir(exist_ok=True)
        for path in sorted(first.iterdir()):
            shutil.copyfile(path, target / path.name)
        print((target / SUMS).read_text(encoding="utf-8"), end="")
    return 0


def _git(root: Path, *words: str) -> bytes:
    return _run(["git", "-C", str(root), "-c", f"safe.directory={root}", *words], os.environ)


def _run(argv: Sequence[str], env: Mapping[str, str]) -> bytes:
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace")
        raise SystemExit(f"{argv[0]} ended with status {done.returncode}\n{said}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
