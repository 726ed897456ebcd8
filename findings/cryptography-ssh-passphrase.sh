#!/usr/bin/env bash
# cryptography: the class of the error for a wrong ssh passphrase depends on the key file's cipher.
#
# A good guess: load_ssh_private_key() raises ValueError for a wrong passphrase, as its page says in
# so many words, and UnsupportedAlgorithm for a kind of key that it does not know.
#
# What happens, for the ten ciphers that ssh-keygen offers with -Z, always with a good ed25519 key:
# aes256-cbc and aes256-ctr raise ValueError for a wrong passphrase, aes256-gcm@openssh.com raises
# InvalidTag, which is no ValueError and has no text. The other seven raise UnsupportedAlgorithm
# with the right passphrase, too. Without the package bcrypt all ten raise UnsupportedAlgorithm:
# the same class for "your file cannot be read here" and "one package is missing here".
#
# Why the guess is wrong: ssh's old ciphers say nothing about the key, so the wrong passphrase is
# noticed later, by two equal numbers inside the plain text. GCM notices it itself, and its own
# exception, meant for tampered data, is passed through. bcrypt turns the passphrase into a key, is
# no dependency, and its absence is told by the class meant for algorithms.
#
# Source: cryptography's page "Key Serialization", load_ssh_private_key (it names these two
# exceptions); cryptography, src/cryptography/hazmat/primitives/serialization/ssh.py;
# ssh-keygen(1), -Z.
#
# For users: to ask for a passphrase again, catch InvalidTag beside ValueError. Before telling a
# person that the key is of an unsupported kind, look whether bcrypt can be imported. A key file is
# made readable with: ssh-keygen -p -Z aes256-ctr -f FILE.
set -euo pipefail

die() { echo "$*" >&2; exit 1; }
command -v ssh-keygen >/dev/null || die "needs ssh-keygen: apt-get install openssh-client"
python3 -c 'import venv, ensurepip' 2>/dev/null || die "needs apt-get install python3-venv"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
ssh -V
python3 -m venv "$dir/venv"
pip=("$dir/venv/bin/pip" install -qq --disable-pip-version-check)
"${pip[@]}" cryptography==50.0.2

ciphers=(3des-cbc aes128-cbc aes192-cbc aes256-cbc aes128-ctr aes192-ctr aes256-ctr
    aes128-gcm@openssh.com aes256-gcm@openssh.com chacha20-poly1305@openssh.com)
for cipher in "${ciphers[@]}"; do
    ssh-keygen -q -t ed25519 -a 2 -Z "$cipher" -C example -N 'right one' -f "$dir/$cipher"
    ssh-keygen -y -P 'right one' -f "$dir/$cipher" >/dev/null || die "ssh-keygen cannot read $cipher"
done

cat > "$dir/show.py" <<'PY'
import sys
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_ssh_private_key


def attempt(path, passphrase):
    try:
        load_ssh_private_key(path.read_bytes(), passphrase)
    except Exception as error:
        text = f"({error})" if len(sys.argv) == 3 else ""
        return type(error).__name__ + text
    return "loads"


print("cryptography", version("cryptography"), *sys.argv[2:])
for name in sys.stdin.read().split():
    path = Path(sys.argv[1], name)
    print(f"{name:30} right: {attempt(path, b'right one'):22} wrong: {attempt(path, b'wrong one')}")
PY
show() { printf '%s\n' "${ciphers[@]}" | "$dir/venv/bin/python" "$dir/show.py" "$dir" "$@"; }

show "without bcrypt" | tee "$dir/without"
[ "$(grep -c 'right: UnsupportedAlgorithm(Need bcrypt module)' "$dir/without")" = 3 ] ||
    die "changed: without bcrypt the three known ciphers do not ask for it"
[ "$(grep -c 'right: UnsupportedAlgorithm' "$dir/without")" = 10 ] || die "changed: without bcrypt"

"${pip[@]}" bcrypt==5.0.0
show | tee "$dir/with"
expect() { # CIPHER RIGHT WRONG
    grep -qE "^$1 +right: $2 +wrong: $3\$" "$dir/with" || die "changed: $1"
}
for cipher in "${ciphers[@]}"; do
    case $cipher in
        aes256-cbc | aes256-ctr) expect "$cipher" loads ValueError ;;
        aes256-gcm*) expect "$cipher" loads InvalidTag ;;
        *) expect "$cipher" UnsupportedAlgorithm UnsupportedAlgorithm ;;
    esac
done
echo "as described"
