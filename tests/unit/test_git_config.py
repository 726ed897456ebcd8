"""Which settings of a repository count, held against what the real git makes of the same file."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from filevault.git.dangerous_settings import WHOLE, counted, included, plain_settings, unquoted
from tests.conditions.tools import tool

# Every setting of git-config(1) that names a program or a path, leads to other settings or
# repositories, or lets one of these count; with what others of git's programs read.
PROGRAMS_AND_PATHS = """
alias.status=!run
blame.ignorerevsfile=file
branch.main.mergeoptions=-s evil
branch.main.pushremote=nowhere
branch.main.remote=./evil
browser.x.cmd=run
browser.x.path=run
commit.gpgsign=true
commit.template=file
core.alternaterefscommand=run
core.askpass=run
core.attributesfile=file
core.editor=run
core.excludesfile=file
core.fsmonitor=run
core.gitproxy=run
core.hookspath=hooks
core.pager=run
core.sshcommand=run
core.worktree=/elsewhere
credential.helper=run
credential.https://example.com.helper=run
diff.evil.command=run
diff.evil.textconv=run
diff.external=run
difftool.evil.cmd=run
extensions.partialclone=evil
extensions.worktreeconfig=true
filter.evil.clean=run
filter.evil.process=run
filter.evil.smudge=run
fsck.skiplist=file
gc.recentobjectshook=run
gpg.openpgp.program=run
gpg.program=run
gpg.ssh.allowedsignersfile=file
gpg.ssh.defaultkeycommand=run
gpg.ssh.program=run
gpg.x509.program=run
guitool.evil.cmd=run
http.proxy=http://evil
http.sslcainfo=file
http.sslverify=false
imap.tunnel=run
include.path=file
includeif.gitdir:/.path=file
includeif.onbranch:main.path=file
init.templatedir=folder
instaweb.httpd=run
interactive.difffilter=run
lfs.customtransfer.evil.path=run
maintenance.repo=/elsewhere
man.x.cmd=run
merge.evil.driver=run
mergetool.evil.cmd=run
pager.log=run
protocol.ext.allow=always
receive.proctreceiverefs=x
remote.evil.proxy=http://evil
remote.file.pushurl=file:///evil.git
remote.file.url=file:///evil.git
remote.helper.url=evil://elsewhere
remote.evil.pushurl=/elsewhere
remote.evil.receivepack=run
remote.evil.uploadpack=run
remote.evil.url=./evil
remote.evil.vcs=run
remote.other.url=ext::sh -c run
remote.third.url=-oProxyCommand=run:x
remote.sly.url=ssh://a%60run%60@git.example.com/x
remote.slyer.url=ssh://-oProxyCommand=run/x
remote.slyest.url=ssh://jon@-oProxyCommand=run/x
remote.pushdefault=./evil
sendemail.sendmailcmd=run
sequence.editor=run
ssh.variant=simple
submodule.recurse=true
submodule.x.update=!run
submodule.x.url=./evil
trailer.x.cmd=run
trailer.x.command=run
uploadpack.packobjectshook=run
url./elsewhere/.insteadof=https://
url./elsewhere/.pushinsteadof=https://
user.signingkey=file
web.browser=run
"""
HARMLESS = """
branch.autosetupmerge=always
branch.main.description=what it is
branch.topic.remote=.
branch.topic.vscode-merge-base=origin/main
color.ui=auto
branch.main.merge=refs/heads/main
branch.main.pushremote=origin
branch.main.rebase=false
branch.main.remote=origin
core.bare=false
core.filemode=true
core.logallrefupdates=true
core.repositoryformatversion=0
fetch.prune=true
init.defaultbranch=main
merge.conflictstyle=diff3
pull.rebase=false
push.default=simple
push.followtags=true
rebase.autostash=true
remote.origin.fetch=+refs/heads/*:refs/remotes/origin/*
remote.origin.url=https://git.example.com/jon/vault
remote.origin.gh-resolved=base
remote.pushdefault=origin
remote.scp.url=git@git.example.com:jon/vault.git
remote.port.url=ssh://git.example.com:2222/jon/vault.git
remote.six.url=ssh://git@[2001:db8::1]:2222/jon/vault.git
remote.ssh.url=ssh://git@git.example.com/jon/vault.git
user.email=jon@example.com
user.name=Jon "the; #1" O'Neil \\ Smith
"""
TRICKY = [
    b"[core]\n\teditor = run\n",
    b"[core] editor = run\n",
    b"[CoRe]\n\tEDITOR=run\n",
    b'[alias "x"]\n\ty = z\n[branch "a b"]\n merge = refs/heads/a b  \n',
    b"[branch.main]\n\tmerge = x\n",
    b'[branch "m"]\n\tmerge = a\\\n[core]\\\n\teditor = run\n',
    b'[branch "m"]\n\tmerge = a\\\r\n[core]\r\n\teditor = run\n',
    b'[branch "m"]\n\tmerge = "a\n[core]\n\teditor = run"\n',
    b'[branch "m\\"]\n[core "x"]\n\tmerge = run\n',
    b'[branch "m"]\n\tmerge\n\trebase = false ; x\n',
    b'[branch "m"]\r\n\tmerge = a\r\n[core]\r\n\teditor = run\r\n',
    b'[branch "m"]\n\tmerge = a\x0b[core]\x0b\teditor = run\n',
    b'[branch "m"]\n\tmerge = a\r[core]\r\teditor = run\n',
    b"\xef\xbb\xbf[core]\n\teditor = run\n",
    b"[core]\n\xc2\xa0editor = run\n",
    b"[user]\n\tname = Jos\xc3\xa9\n\temail = x@y\n",
    b"# comment \\\n[core]\n\teditor = run\n",
    b"[user]\n\tname = a # b\n",
    b"[core]editor=run\n",
    b'[branch "m"] # [core]\n\tmerge = a\n',
    b'[include]\n\tpath = "a\\tb" # no\n',
    b"editor = run\n",
    b"[core\n]\n\teditor = run\n",
    b"[core]\n\tedit_or = run\n",
    b"",
]


def _listed(path: Path) -> list[tuple[str, str | None]] | None:
    """What git reads, None if it cannot."""
    argv = [tool("git"), "config", "--file", str(path), "--no-includes", "--null", "--list"]
    env = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}
    done = subprocess.run(argv, capture_output=True, env=env, cwd="/")
    if done.returncode != 0:
        return None
    found: list[tuple[str, str | None]] = []
    for entry in os.fsdecode(done.stdout).split("\0")[:-1]:
        key, equals, value = entry.partition("\n")
        found.append((key, value if equals else None))
    return found


def _written(tmp_path: Path, lines: str) -> Path:
    path = tmp_path / "config"
    for line in lines.split("\n"):
        key, _, value = line.partition("=")
        if key:
            subprocess.run([tool("git"), "config", "--file", path, "--add", key, value], check=True)
    return path


def test_every_setting_that_names_a_program_or_a_path_counts(tmp_path: Path) -> None:
    text = ""
    for line in PROGRAMS_AND_PATHS.split("\n"):
        key, equals, value = line.partition("=")
        section, _, rest = key.partition(".")
        middle, _, name = rest.rpartition(".")
        head = f'[{section} "{middle}"]' if middle else f"[{section}]"
        text += f"{head}\n\t{name} = {value}\n" if equals else ""
    path = tmp_path / "config"
    path.write_text(text)
    read = _listed(path)
    assert read is not None
    assert {key for key, _ in read} == set(counted(path.read_bytes()))
    # Each alone, too: what is harmless depends on what else is there.
    for block in text.split("[")[1:]:
        assert counted(f"[{block}".encode()), block


def test_what_git_writes_in_daily_use_does_not_count(tmp_path: Path) -> None:
    path = _written(tmp_path, HARMLESS)
    assert plain_settings(path.read_bytes())
    assert counted(path.read_bytes()) == {}


@pytest.mark.parametrize("text", TRICKY)
def test_a_file_of_plain_form_means_the_same_to_git(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "config"
    path.write_bytes(text)
    read, settings = _listed(path), plain_settings(text)
    if settings is None:
        assert counted(text) == {WHOLE: text.decode("utf-8", "surrogateescape")}
        return
    ours = [(s.key, None if s.value is None else unquoted(s.value)) for s in settings]
    if read is not None:
        assert ours == read
    if b"editor" in text:
        assert "core.editor" in counted(text)


def test_included_files_are_found_however_they_are_written() -> None:
    assert included(b'[include]\n\tpath = a\n[includeIf "onbranch:x"]\n path=~/b\n') == [
        "a",
        "~/b",
    ]
    assert included(b'[iNcLuDe] path = "a\\"b" # c\n') == ['a"b']
    assert included(b'[difftool "x"]\n\tpath = a\n') == []
