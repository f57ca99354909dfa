"""Image archives, made without a registry: what ``docker load``, ``podman load`` and ``ctr images import`` take.

The format is docker's (moby image specification 1.2): a manifest, a configuration, and one layer. The same root file
system gives the same bytes, and so the same digests.
"""

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root")


@dataclass(frozen=True, slots=True)
class Image:
    """An archive, and what is in it."""

    archive: Path
    reference: str
    """Complete (``localhost/name:tag``): containerd takes no other."""
    id: str
    """Digest of its configuration, 64 hexadecimal digits: what docker and podman call the image's id."""


def write_image(rootfs: Path, archive: Path, reference: str, **configuration: Any) -> Image:
    """Write an archive of this root file system; ``configuration`` as of docker's (``Labels``, ``Entrypoint``...)."""
    layer = _pack_layer(rootfs)
    settings = _build_settings(layer, configuration)
    identity = hashlib.sha256(settings).hexdigest()
    layer_name = f"{hashlib.sha256(layer).hexdigest()}/layer.tar"
    manifest = [{"Config": f"{identity}.json", "RepoTags": [reference], "Layers": [layer_name]}]
    with tarfile.open(archive, "w") as tar:
        _add(tar, "manifest.json", json.dumps(manifest).encode())
        _add(tar, f"{identity}.json", settings)
        _add(tar, layer_name, layer)
    return Image(archive, reference, identity)


def _build_settings(layer: bytes, configuration: dict[str, Any]) -> bytes:
    settings = {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Cmd": ["/bin/sh"], "Env": ENVIRONMENT, "WorkingDir": "/", **configuration},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "a test"}],
    }
    return json.dumps(settings, sort_keys=True).encode()


def _pack_layer(rootfs: Path) -> bytes:
    """Sorted, owners by number, times zero."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(rootfs.rglob("*")):
            member = tar.gettarinfo(path, arcname=str(path.relative_to(rootfs)))
            member.mtime, member.uname, member.gname = 0, "", ""
            if member.isreg():
                with path.open("rb") as content:
                    tar.addfile(member, content)
            else:
                tar.addfile(member)
    return packed.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
