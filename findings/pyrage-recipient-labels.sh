#!/usr/bin/env bash
# pyrage: one post-quantum recipient beside the others, and nothing can be encrypted any more.
#
# A good guess: age encrypts the file key to each recipient by itself, so a set of recipients works
# if each of them does, and a team can move to post-quantum keys one person after the other. The
# tagged recipients, made for hardware keys, come in a classical kind (age1tag1) and a post-quantum
# kind (age1tagpq1), and the classical one mixes with X25519 as expected.
#
# What happens: each recipient parses, and each encrypts alone. X25519 with age1tag1 encrypts. As
# soon as age1tagpq1 stands beside either of them, encrypt() raises EncryptError.
#
# Why the guess is wrong: a recipient returns labels with its stanza, and all recipients of a file
# must return the same set of them, equal, not overlapping. age1tagpq1 returns "postquantum", the
# classical kinds none: beside them its own strength would be worth nothing. Labels appear only when
# a file key is wrapped, so no parsing, linting or sorting of a recipients file can show it. The
# word in the message stands between invisible characters (U+2068 and U+2069, from the translation
# library), so a search for the quoted label finds nothing.
#
# Source: rage (crate age), documentation of the trait Recipient, section Labels, and
# age/i18n/en-US/age.ftl (the message); C2SP, age-plugin.md, the labels extension of recipient-v1;
# release notes of age 1.3.0 (the tagged recipients).
#
# For users: a shared store moves to post-quantum recipients as a whole, in one step, or not at all.
# A program that manages recipients must try an encryption to the resulting set, not check each one.
set -euo pipefail

die() { echo "$*" >&2; exit 1; }
python3 -c 'import venv, ensurepip' 2>/dev/null || die "needs apt-get install python3-venv"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -qq --disable-pip-version-check pyrage==1.4.0 cryptography==50.0.2

cat > "$dir/show.py" <<'PY'
from importlib.metadata import version

import pyrage
from cryptography.hazmat.primitives.asymmetric import ec, mlkem
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pyrage import tag, tagpq, x25519

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def checksum(values):
    """The polynomial of BIP 173."""
    state = 1
    for value in values:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for bit, term in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            state ^= term if top >> bit & 1 else 0
    return state


def bech32(prefix, data):
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)]
    spread = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = checksum([*spread, *values, 0, 0, 0, 0, 0, 0]) ^ 1
    values += [check >> 5 * (5 - at) & 31 for at in range(6)]
    return prefix + "1" + "".join(ALPHABET[value] for value in values)


def point(form):
    return ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.X962, form)


print("pyrage", version("pyrage"))
classical = bech32("age1tag", point(PublicFormat.CompressedPoint))
hybrid = bech32(
    "age1tagpq",
    mlkem.MLKEM768PrivateKey.generate().public_key().public_bytes_raw()
    + point(PublicFormat.UncompressedPoint),
)
x = x25519.Identity.generate().to_public()
t = tag.Recipient.from_str(classical)
p = tagpq.Recipient.from_str(hybrid)
print(f"parsed: X25519, {classical[:12]}..., {hybrid[:14]}...")

seen = {}
for name, recipients in {
    "X25519": [x],
    "tag": [t],
    "tagpq": [p],
    "X25519 + tag": [x, t],
    "tagpq + tagpq": [p, p],
    "X25519 + tagpq": [x, p],
    "tag + tagpq": [t, p],
}.items():
    try:
        pyrage.encrypt(b"secret", recipients)
        seen[name] = "encrypts"
    except pyrage.EncryptError as error:
        seen[name] = f"EncryptError: {error}"
    print(f"{name}: {ascii(seen[name])}")

good, refused = list(seen.values())[:5], list(seen.values())[5:]
assert good == ["encrypts"] * 5, seen
assert all("labels" in message for message in refused), seen
assert all("'\u2068postquantum\u2069'" in message for message in refused), seen
assert not any("'postquantum'" in message for message in refused), seen
PY
"$dir/venv/bin/python" "$dir/show.py"
echo "as described"
