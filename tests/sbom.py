"""The SBOM of a release: what filevault runs with, as CycloneDX 1.6 in JSON.

It is made from the metadata of the packages that are installed here, which are the versions that
the tests ran with. Nothing is looked up elsewhere. Packages of the extra `age` are optional.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NAME = "filevault-aws"
EXTRA = "age"
_LONGEST = 60  # characters of a licence's name; longer ones are its whole text


def sbom(archives: Iterable[Path], epoch: int) -> dict[str, Any]:
    """Describe filevault, its archives, and all that it needs directly or indirectly.

    `epoch` is the time of the release in Unix seconds. The same input gives the same document.
    """
    needed = {"": _needs(NAME, ("",)), EXTRA: _needs(NAME, ("", EXTRA))}
    required = _closure(needed[""])
    everything = _closure(needed[EXTRA])
    own = _component(NAME, "application")
    own["externalReferences"] = [
        {
            "type": "distribution",
            "url": path.name,
            "hashes": [
                {"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}
            ],
        }
        for path in sorted(archives)
    ]
    graph = {NAME: set(needed[EXTRA]), **everything}
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lifecycles": [{"phase": "build"}],
            "component": own,
        },
        "components": [
            {
                **_component(name, "library"),
                "scope": "required" if name in required else "optional",
            }
            for name in sorted(everything)
        ],
        "dependencies": [
            {"ref": _purl(name), "dependsOn": sorted(_purl(each) for each in graph[name])}
            for name in sorted(graph)
        ],
    }
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True))
    return {**document, "serialNumber": number.urn}


def _needs(name: str, extras: Iterable[str]) -> dict[str, set[str]]:
    """Return what a distribution needs here, by name, with the extras that it asks for."""
    found: dict[str, set[str]] = {}
    for line in metadata.requires(name) or []:
        wanted = Requirement(line)
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": each}) for each in extras):
            found.setdefault(canonicalize_name(wanted.name), set()).update(wanted.extras)
    return found


def _closure(names: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return these distributions and all that they need, each with what it needs itself."""
    found: dict[str, set[str]] = {}
    queue = [(name, frozenset(extras)) for name, extras in names.items()]
    seen = set()
    while queue:
        name, extras = queue.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        needs = _needs(name, ["", *extras])
        found.setdefault(name, set()).update(needs)
        queue += [(each, frozenset(wanted)) for each, wanted in needs.items()]
    return found


def _purl(name: str) -> str:
    return f"pkg:pypi/{name}@{metadata.version(name)}"


def _component(name: str, kind: str) -> dict[str, Any]:
    about = metadata.metadata(name)
    return {
        "type": kind,
        "bom-ref": _purl(name),
        "name": name,
        "version": metadata.version(name),
        "purl": _purl(name),
        **_licenses(about),
    }


def _licenses(about: metadata.PackageMetadata) -> dict[str, Any]:
    """Return the licence that a distribution names: an expression, classifiers or a text."""
    fields = about.json
    if "license_expression" in fields:
        return {"licenses": [{"expression": fields["license_expression"]}]}
    named = [
        each.rpartition(" :: ")[2]
        for each in fields.get("classifier", ())
        if each.startswith("License :: ")
    ]
    text = str(fields.get("license", ""))
    names = named or ([text] if 0 < len(text) <= _LONGEST else [])
    return {"licenses": [{"license": {"name": each}} for each in names]} if names else {}
