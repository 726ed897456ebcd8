"""Finder of filevault's own modules: where they are is known, so that nothing is searched.

Python looks for each module with every finder, and for each kind of file; a command imports about
a hundred. This saves half of that. Bytecode is accepted under the same conditions as by Python: the
version of Python, and the time and size of the source. Whatever is not as usual is left to Python.

`preload` imports the modules of a cached `exec` or of `list` one after the other, each after those
that it imports itself. Importing from the import statements costs more: locks, and a search for a
module that another thread imports just then.
"""

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec, _load_unlocked  # type: ignore[attr-defined]
from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader
from _imp import _fix_co_filename  # type: ignore[attr-defined]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

_OURS = "filevault."
_BYTECODE = f".{sys.implementation.cache_tag}.pyc"
_HEADER_SIZE = 16
_BEGINNING = MAGIC_NUMBER + bytes(4)  # PEP 552: checked by the time and size of the source
_UINT32 = 0xFFFFFFFF
_READ_SIZE = 100_000  # more than a module of filevault has; malloc(3) maps memory for much more
_MTIME = 8  # index in the result of stat(2): whole seconds


_FIRST = (
    "system",
    "system.hardening",
    "system.libc",
    "errors",
    "system.printable",
    "system.files",
    "config",
    "system.record",
    "backends",
    "backends.definition",
    "backends.age",
    "backends.file",
    "backends.gpg",
    "config.aws_variables",
    "system.config_files",
    "config.config_toml",
    "system.inputs",
    "system.times",
    "config.settings",
    "keycache",
    "keycache.cached_key",
    "keycache.cache",
    "cli",
    "cli.streams",
    "cli.parser",
    "cli.command",
    "cli.context",
    "cli.reporter",
    "cli.commands",
)
"""What both import before anything else."""
HOT = (
    *_FIRST,
    "config.credential_source",
    "partitions",
    "config.inheritance",
    "config.profile",
    "plan",
    "credentials",
    "plan.account",
    "plan.limits",
    "aws",
    "aws.endpoint",
    "plan.sts_endpoint",
    "sources",
    "plan.planner",
    "vault",
    "system.digest",
    "system.merge_conflicts",
    "vault.names",
    "vault.item_store",
    "vault.lookup",
    "cli.profiles",
    "config.overrides",
    "issued",
    "issued.issued_credentials",
    "cli.obtain",
    "keycache.vault_keys",
    "vault.defaults",
    "vault.choose",
    "vault.pin",
    "vault.pin_policy",
    "vault.state_directory",
    "system.strict_json",
    "vault.seen_items",
    "vault.trust",
    "backends.item_header",
    "vault.vault",
    "cli.open_vault",
    "system.search_path",
    "cli.replace_process",
    "issued.child_environment",
    "cli.commands.exec",
    "backends.sealing",
    "backends.sealing.format_header",
    "backends.file.vault_json",
    "backends.sealing.xaes",
    "backends.sealing.envelope",
    "backends.sealing.key_schedule",
    "backends.file.backend",
    "config.aws_config",
    "sources.source",
    "sources.stored",
    "calls",
    "calls.call",
    "calls.get_session_token",
    "sessions",
    "sessions.session_file",
    "sessions.cache",
    "sessions.minimum_life",
    "sessions.cached_provider",
    "sessions.session_hash",
    "plan.providers",
    "vault.session_key",
    "keycache.agent_folders",
    "backends.kdf",
    "backends.file.keyslots",
    "system.secret_buffer",
    "backends.file.unlock",
    "unlock",
    "backends.values",
    "system.secret_files",
    "unlock.secret_sources",
    "unlock.unlocker",
)
"""What a cached `exec` imports, in the order in which it is complete, but a package comes first."""
LISTING = (
    *_FIRST,
    "keycache.vault_keys",
    "vault",
    "system.digest",
    "vault.defaults",
    "vault.choose",
    "vault.names",
    "vault.pin",
    "vault.pin_policy",
    "vault.state_directory",
    "system.strict_json",
    "vault.seen_items",
    "vault.trust",
    "backends.item_header",
    "system.merge_conflicts",
    "vault.item_store",
    "vault.lookup",
    "vault.vault",
    "cli.open_vault",
    "cli.sign_ins",
    "cli.commands.list",
    "backends.sealing",
    "backends.sealing.format_header",
    "backends.file.vault_json",
    "backends.sealing.xaes",
    "backends.sealing.envelope",
    "backends.sealing.key_schedule",
    "backends.file.backend",
    "config.aws_config",
    "credentials",
    "sessions",
    "sessions.session_file",
    "sessions.cache",
    "sessions.minimum_life",
    "vault.witnesses",
    "sessions.session_index",
    "vault.creation_times",
)
"""What `list` imports, in the same order."""


class _Loader(SourceFileLoader):
    """Executes a module from its bytecode; without such, as Python does."""

    def exec_module(self, module: "ModuleType") -> None:
        """Execute a module; `loader_state` of its specification is the header that is valid."""
        spec: ModuleSpec = module.__spec__  # type: ignore[assignment]
        try:
            # Not `__cached__` of the module, which Python 3.15 lacks.
            fd = posix.open(spec.cached, posix.O_RDONLY | posix.O_CLOEXEC)  # type: ignore[arg-type]
            try:
                data = posix.read(fd, _READ_SIZE)
            finally:
                posix.close(fd)
        except OSError:
            data = b""
        if data[:_HEADER_SIZE] != spec.loader_state or len(data) == _READ_SIZE:
            super().exec_module(module)
            return
        try:
            code = marshal.loads(memoryview(data)[_HEADER_SIZE:])  # noqa: S302 - as Python does
            _fix_co_filename(code, self.path)
        except Exception:  # noqa: BLE001 - cut off by a crash; Python would fail at each start
            code = self.source_to_code(self.get_data(self.path), self.path)
        exec(code, module.__dict__)  # noqa: S102 - as Python does


class Finder:
    """A finder for `sys.meta_path`."""

    @staticmethod
    def find_spec(
        name: str, path: "Sequence[str] | None" = None, _target: object = None
    ) -> ModuleSpec | None:
        """Return how to load a module of filevault; None for others, which Python finds."""
        if path is None or not name.startswith(_OURS):
            return None
        folder, stem = path[0], name.rpartition(".")[2]
        package = f"{folder}/{stem}"
        source = f"{package}.py"
        try:
            info = posix.stat(source)
        except OSError:
            folder, stem = package, "__init__"
            source = f"{package}/__init__.py"
            try:
                info = posix.stat(source)
            except OSError:
                return None
        spec = ModuleSpec(name, _Loader(name, source), origin=source)
        spec.has_location = True
        spec.loader_state = _BEGINNING + b"%b%b" % (
            (int(info[_MTIME]) & _UINT32).to_bytes(4, "little"),
            (info.st_size & _UINT32).to_bytes(4, "little"),
        )
        spec.cached = f"{folder}/__pycache__/{stem}{_BYTECODE}"
        if folder is package:
            spec.submodule_search_locations = [package]
        return spec


def install() -> None:
    """Find the modules of filevault in this way from now on, where Python does so by default."""
    if not sys.flags.optimize and sys.pycache_prefix is None:
        sys.meta_path.insert(0, Finder)


def preload(needed: "Sequence[str]") -> None:
    """Import what a command needs, which is HOT or LISTING.

    Not with `-X importtime`, whose list would lack it. What cannot be imported is left to the
    import statement, which fails where that is reported.
    """
    modules = sys.modules
    if Finder not in sys.meta_path or "importtime" in sys._xoptions:
        return
    if b"PYTHONPROFILEIMPORTTIME" in posix.environ:
        return
    for each in needed:
        name = _OURS + each
        if name not in modules:
            parent, _dot, child = name.rpartition(".")
            spec = Finder.find_spec(name, modules[parent].__path__)
            if spec is None:
                return
            try:
                setattr(modules[parent], child, _load_unlocked(spec))
            except Exception:  # noqa: BLE001 - whatever a module raises
                return
