#!/usr/bin/env bash
# Run the tests in Debian 13, whose gpg, git, age and Python are newer than those of Debian 12.
#
# `make test-debian13` starts it, as root: it makes the system once with debootstrap, below FOLDER
# (.debian13 in the checkout), and runs `make test` there on a copy of what git tracks. The mounts
# are in a namespace of their own and end with the run. Words behind it go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
folder=${FOLDER:-$top/.debian13}
root=$folder/root
if [ "$(id -u)" != 0 ]; then
	echo "test-debian13 needs root: debootstrap and chroot do" >&2
	exit 1
fi
if ! command -v debootstrap >/dev/null; then
	apt-get -q update >/dev/null
	apt-get install -y -q --no-install-recommends debootstrap >/dev/null
fi
# The mirror that this machine installs from.
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' |
	sed -n '/\/debian\/*$/{p;q}')
test -n "$mirror" || { echo "apt names no mirror of Debian" >&2; exit 1; }
if [ ! -e "$root/.complete" ]; then
	rm -rf --one-file-system -- "$root"
	mkdir -p "$root"
	debootstrap --variant=minbase trixie "$root" "$mirror"
	touch "$root/.complete"
fi
# The names, certificates and package sources that this machine uses.
for each in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
	if [ -e "$each" ]; then
		mkdir -p "$root$(dirname "$each")"
		cp --dereference "$each" "$root$each"
	fi
done
mkdir -p "$root/usr/local/share/ca-certificates"
cp --dereference --recursive /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates"
mkdir -p "$root/src"
find "$root/src" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf --one-file-system -- {} +
git ls-files -z --cached --others --exclude-standard | tar --null --no-recursion -T - -c |
	tar -x --no-same-owner -C "$root/src"
git -C "$root/src" init -q
git -C "$root/src" add -A
exec unshare --mount --pid --fork --kill-child --propagation private bash -euc '
	root=$1
	shift
	mount --bind "$root" "$root" # tests mount inside it, which needs a mount point above
	mount -t proc proc "$root/proc"
	mount --rbind /dev "$root/dev"
	mount --rbind /sys "$root/sys"
	mount -t tmpfs -o mode=1777 tmp "$root/tmp"
	chroot "$root" /bin/bash -euc "
		export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
		unset PIP_FIND_LINKS
		if ! command -v make git python3 >/dev/null || ! python3 -c \"import ensurepip\" 2>/dev/null
		then
			apt-get -q update >/dev/null
			apt-get install -y -q --no-install-recommends \
				make git python3 python3-venv ca-certificates procps >/dev/null
		fi
		cd /src
		make test PYTEST_ARGS=\"\$*\"
	" run "$@"
' namespace "$root" "$@"
