#!/usr/bin/env bash
# PySequoia and gpg: who else is a recipient decides whether gpg can read the message.
#
# A good guess: a key made with PySequoia's profile RFC4880 is an old-style (version 4) key, gpg
# imports it without a remark, so what is encrypted to it is something gpg can decrypt.
#
# What happens: gpg holds the secret key and still fails with exit status 2 and "packet(1) with
# unknown version 6". Nothing is wrong with the key or the message. Add a second recipient whose
# key gpg made, and the same gpg with the same secret key reads the message.
#
# Why the guess is wrong: the profile settles the version of the key packets, not what the key says
# about its owner's software. Also under RFC4880 Sequoia sets the feature bit 0x08: "my software
# reads version 2 of the encrypted data packet", the AEAD form of RFC 9580. PySequoia writes that
# form if every recipient has the bit, and the older form if one lacks it. gpg 2.2 neither reads the
# form nor heeds the bit when it imports the key, and names the first packet it meets, so its
# message points to key versions, not to the feature. PySequoia's encrypt() has no argument for it.
# A new expiry date set with gpg does not clear the bit either.
#
# Source: RFC 9580, sections 5.2.3.32 (Features) and 5.13.2 (version 2 of the packet);
# pysequoia, src/encrypt.rs (hands each recipient's features to Sequoia's Encryptor);
# sequoia-openpgp, documentation of types::Features; gpg --list-packets, run below.
#
# For users: in a store that people open with gpg, have every key made by gpg, or keep at least one
# recipient whose key gpg made. An entry that gpg cannot read is not lost: PySequoia opens it with
# the same key.
set -euo pipefail

die() { echo "$*" >&2; exit 1; }
for tool in gpg gpgconf; do
    command -v "$tool" >/dev/null || die "needs gpg and gpgconf 2.2: apt-get install gnupg"
done
python3 -c 'import venv, ensurepip' 2>/dev/null || die "needs apt-get install python3-venv"

dir=$(mktemp -d)
export GNUPGHOME="$dir/gnupg"
trap 'gpgconf --kill all 2>/dev/null || :; rm -rf "$dir"' EXIT
mkdir -m 700 "$GNUPGHOME"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -qq --disable-pip-version-check pysequoia==0.1.35

cat > "$dir/show.py" <<'PY'
import subprocess
from importlib.metadata import version

from pysequoia import Cert, Profile, Tsk, decrypt, encrypt


def gpg(*arguments, data=b""):
    return subprocess.run(
        ["gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "", *arguments],
        input=data,
        capture_output=True,
    )


print("pysequoia", version("pysequoia"))
print(gpg("--version").stdout.decode().splitlines()[0])
secret = Tsk.generate("Ann <ann@example.org>", profile=Profile.RFC4880)
ann = secret.extract_certificate()
imported = gpg("--import", data=bytes(secret))
assert imported.returncode == 0, imported.stderr
print("gpg imports Ann's secret key, made with PySequoia's profile RFC4880: exit status 0")
packets = gpg("--list-packets", data=bytes(ann)).stdout.decode().splitlines()
features = {line.split("features: ")[1].rstrip(")") for line in packets if "features: " in line}
print("features that Ann's key states:", *features)
assert features == {"09"}, features

gpg("--quick-gen-key", "Bob <bob@example.org>", "future-default", "default", "never")
bob = Cert.from_bytes(gpg("--export", "bob@example.org").stdout)
expiry = gpg("--quick-set-expire", ann.fingerprint, "1y")
assert expiry.returncode == 0, expiry.stderr
renewed = Cert.from_bytes(gpg("--export", "ann@example.org").stdout)
assert bytes(renewed) != bytes(ann)
# From here on gpg has Ann's secret key alone: Bob's cannot be what opens a message.
removed = gpg("--yes", "--delete-secret-keys", bob.fingerprint)
assert removed.returncode == 0, removed.stderr

seen = []
for name, recipients in (
    ("Ann", [ann]),
    ("Ann, with gpg's new expiry date", [renewed]),
    ("Ann and Bob, whose key gpg made", [ann, bob]),
):
    message = encrypt(recipients=recipients, bytes=b"secret", armor=False)
    assert decrypt(decryptor=secret.decryptor(), bytes=message).bytes == b"secret"
    answer = gpg("--decrypt", data=message)
    log = answer.stderr.decode().splitlines()
    first = next((line for line in log if "unknown version" in line), "no complaint")
    seen.append((answer.returncode, answer.stdout, first))
    print(f"to {name}: PySequoia decrypts; gpg exit status {answer.returncode}, {first}")
failed = (2, b"", "gpg: packet(1) with unknown version 6")
assert seen == [failed, failed, (0, b"secret", "no complaint")], seen
PY
"$dir/venv/bin/python" -W ignore::DeprecationWarning "$dir/show.py"
echo "as described"
