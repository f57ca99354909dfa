"""Bound what images with long texts take: the oldest of them fall back to their slim form.

Which is what a hostile program can make us keep: 4 KiB of arguments, and many times
that when they are short ones, for each process that it starts.
"""

from collections import deque
from typing import Final

from monitor.engine.images import build_slim, is_long
from monitor.model.process import Process, ProcessImage

LONG_IMAGES_BYTES: Final = 24 << 20


class LongImages:
    """Processes that hold such an image, oldest first."""

    def __init__(self) -> None:
        self._holders: deque[tuple[Process, int]] = deque()
        self._bytes = 0
        self.cut = 0
        """Processes whose images were made slim."""

    def add(self, process: Process) -> None:
        """One more."""
        weight = process.image.weight_bytes
        self._holders.append((process, weight))
        self._bytes += weight
        while self._bytes > LONG_IMAGES_BYTES:
            oldest, weight = self._holders.popleft()
            self._bytes -= weight
            self._cut(oldest)

    def _cut(self, process: Process) -> None:
        process.image = _shorten(process.image)
        if process.parent_image is not None:
            process.parent_image = _shorten(process.parent_image)
        if process.earlier_images is not None:
            process.earlier_images = [(number, _shorten(image)) for number, image in process.earlier_images]
        self.cut += 1


def _shorten(image: ProcessImage) -> ProcessImage:
    return build_slim(image) if is_long(image) else image
