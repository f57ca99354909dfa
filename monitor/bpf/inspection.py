"""Tell which files our descriptors are, as the programs that deny see them.

``stat`` shows other numbers on overlayfs and btrfs, and never what lies behind an
overlay's file.
"""

import struct
import threading
from pathlib import Path
from typing import Final

from monitor.bpf.libbpf import BpfObject
from monitor.model.ids import InodeKey

_DESCRIPTOR: Final = struct.Struct("<Q")
_PART: Final = struct.Struct("<QQII")
_PROGRAM: Final = "inspect_file"


class FileInspector:
    """The loaded object. Any thread may ask."""

    def __init__(self, path: Path) -> None:
        """Load it.

        Raises:
            LibbpfError: the kernel refused.
        """
        self._lock = threading.Lock()
        self._object = BpfObject(path)
        try:
            self._object.load()
        except BaseException:
            self._object.close()
            raise

    def inspect(self, descriptor: int) -> tuple[InodeKey, ...]:
        """The file systems' own inodes behind an open file (O_PATH will do).

        Of an overlay's file those are the one in the upper layer, if it was written since the image, and the one in
        the lower layer, if it came from there; of any other file there is one.

        Raises:
            OSError: the kernel does not say.
        """
        with self._lock:
            if self._object.run(_PROGRAM, bytearray(_DESCRIPTOR.pack(descriptor))):
                return ()
            answer = bytes(self._object.variable_view("inspected"))
        itself, upper, lower, *below = [
            InodeKey(device, inode, generation) if device else None
            for inode, device, generation, _ in _PART.iter_unpack(answer)
        ]
        real = [upper, *(below if any(below) else [lower])]
        return tuple(key for key in (real if any(real) else [itself]) if key is not None)

    def close(self) -> None:
        """Free it."""
        self._object.close()
