#!/usr/bin/env bash
# git and age: git takes some binary age files for text, the more the more recipients a store has.
#
# A good guess: where git changes line ends (core.autocrlf=true, the choice of Git for Windows, or
# `* text=auto` in .gitattributes, which many templates have), it guesses what is text and leaves
# ciphertext alone, as it does in every pass store. A store of .age files needs no attributes, and
# pass and passage set none for line ends.
#
# What happens with secrets of 40 characters, as AWS's are: of the entries for one recipient git
# takes 1 or 2 in a hundred for text, for three 5, for ten almost half. With core.autocrlf=true a
# clone gets these with CRLF, and age refuses them; `git status` shows no change. With
# `* text=auto` the damage is rare, about one entry in 2000 for ten recipients, but it is done on
# Linux too, and in the commit: a CRLF that is in the ciphertext by chance loses its CR. The entry
# opens where it was made and in no clone.
#
# Why the guess is wrong: git counts. A file without NUL and without a CR of its own is text if at
# most one byte in 128 is a control character. Random bytes never are: every message of gpg is
# binary. An age file begins with a header of ASCII, about 100 bytes for each recipient, and so a
# long header outvotes a short payload. Which entries it hits is chance, and new at each encryption.
#
# Source: git, convert.c (gather_stats, convert_is_binary, crlf_to_git) and gitattributes(5), text;
# C2SP, age.md, "Encrypted file format" (a textual header, files that MUST be treated as binary).
#
# For users: commit a .gitattributes with `*.age -text` before the first entry; clones obey it.
# Armored files need no attributes. An entry with "invalid header" after a clone: set core.autocrlf
# to false and check it out again. One that lost a CR is not lost: put a CR before each LF of the
# payload in turn, until it opens.
set -euo pipefail

die() { echo "$*" >&2; exit 1; }
command -v age >/dev/null || die "needs age 1.1: apt-get install age"
command -v git >/dev/null || die "needs git 2.39: apt-get install git"
for tool in gpg gpgconf; do
    command -v "$tool" >/dev/null || die "needs gpg and gpgconf 2.2: apt-get install gnupg"
done
python3 -c 'import venv, ensurepip' 2>/dev/null || die "needs apt-get install python3-venv"

dir=$(mktemp -d)
export GNUPGHOME="$dir/gnupg"
trap 'gpgconf --kill all 2>/dev/null || :; rm -rf "$dir"' EXIT
mkdir -m 700 "$GNUPGHOME"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -qq --disable-pip-version-check pyrage==1.4.0
printf '[user]\nname = Ann\nemail = ann@example.org\n[init]\ndefaultBranch = main\n' > "$dir/plain"
{ cat "$dir/plain"; printf '[core]\nautocrlf = true\n'; } > "$dir/autocrlf"

cat > "$dir/show.py" <<'PY'
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pyrage
from pyrage import x25519

top = Path(sys.argv[1])
identities = [x25519.Identity.generate() for _ in range(10)]
recipients = [identity.to_public() for identity in identities]
(top / "identity").write_text(f"{identities[0]}\n")


def run(*command, data=None, config="plain"):
    env = os.environ | {"GIT_CONFIG_GLOBAL": f"{top}/{config}", "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(command, input=data, env=env, cwd=top, capture_output=True)


def git(*command, config="plain"):
    answer = run("git", *command, config=config)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def clone(name, files, attributes="", config="plain"):
    """Commit files to a store, clone it; return the clone, and what in it is not as committed."""
    store, copy = top / name, top / f"{name}-clone"
    git("init", "-q", store)
    if attributes:
        (store / ".gitattributes").write_text(f"{attributes}\n")
    for file, content in files.items():
        (store / file).write_bytes(content)
    git("-C", store, "add", ".")
    git("-C", store, "commit", "-qm", "Add the entries")
    git("clone", "-q", store, copy, config=config)
    status = git("-C", copy, "status", "--porcelain", config=config)
    assert status == b"", "git status shows the change"
    return copy, [file for file in files if (copy / file).read_bytes() != files[file]]


def secret():
    return os.urandom(20).hex().encode()


def opens(content):
    try:
        return bool(pyrage.decrypt(content, identities[:1]))
    except pyrage.DecryptError:
        return False


def age(path):
    answer = run("age", "--decrypt", "--identity", "identity", path)
    return answer.stderr.decode().splitlines()[0] if answer.returncode else "opens"


def table(what, name, make, low, high, unreadable, **options):
    """Clone 300 entries with core.autocrlf=true, and count."""
    files = {f"{number}.{name}": make() for number in range(300)}
    copy, changed = clone(what.replace(" ", "-"), files, config="autocrlf", **options)
    broken = [f for f in files if name == "age" and not opens((copy / f).read_bytes())]
    print(f"300 entries, {what}: git changed {len(changed)}, unreadable {len(broken)}")
    if broken:
        print(f"  age, of the first one: {age(copy / broken[0])}")
        assert age(copy / broken[0]) == "age: error: invalid header intro"
    assert low <= len(changed) <= high, f"changed: expected {low} to {high}"
    assert broken == (changed if unreadable else []), "changed: what is unreadable"


print("pyrage", version("pyrage"))
print("age", run("age", "--version").stdout.decode().strip())
print(git("--version").decode().strip())
print(run("gpg", "--version").stdout.decode().splitlines()[0])

print("core.autocrlf=true in the clone")
table("1 recipient", "age", lambda: pyrage.encrypt(secret(), recipients[:1]), 0, 25, True)
table("3 recipients", "age", lambda: pyrage.encrypt(secret(), recipients[:3]), 2, 50, True)
ten = lambda: pyrage.encrypt(secret(), recipients)
table("10 recipients", "age", ten, 90, 200, True)
table("10 recipients and *.age -text", "age", ten, 0, 0, False, attributes="*.age -text")
armored = lambda: pyrage.encrypt(secret(), recipients, armored=True)
table("10 recipients and armor", "age", armored, 300, 300, False)

batch = ("gpg", "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback")
keys = [f"{name}@example.org" for name in ("ann", "bob", "cy")]
for key in keys:
    assert not run(*batch, "--quick-gen-key", key, "future-default", "default", "never").returncode
to_all = (*batch, "--trust-model", "always", *(w for k in keys for w in ("-r", k)), "--encrypt")
table("gpg and 3 recipients", "gpg", lambda: run(*to_all, data=secret()).stdout, 0, 0, False)

print("* text=auto in the store, no other setting")
for tries in range(1, 40001):
    entry = ten()
    payload = entry.index(b"\n", entry.index(b"\n--- ") + 1) + 1
    if b"\r\n" not in entry[payload:]:
        continue  # a quicker look than git's
    copy, changed = clone(f"auto-{tries}", {"entry.age": entry}, attributes="* text=auto")
    if changed:
        break
else:
    sys.exit("changed: git left every entry as it was")
damaged = (copy / "entry.age").read_bytes()
print(f"entry {tries}: {len(entry)} bytes here, {len(damaged)} in the clone")
print(f"  age: {age(top / f'auto-{tries}' / 'entry.age')} here; clone: {age(copy / 'entry.age')}")
assert opens(entry) and not opens(damaged)
assert damaged == entry.replace(b"\r\n", b"\n")
at = [n for n in range(payload, len(damaged)) if damaged[n] == 10]
mended = [damaged[:n] + b"\r" + damaged[n:] for n in at]
print(f"  with a CR before each of {len(at)} LF in turn: {sum(map(opens, mended))} opens")
PY
"$dir/venv/bin/python" "$dir/show.py" "$dir"
echo "as described"
