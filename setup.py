"""Pack the shipped rules and the compiled BPF objects into the wheel, as ``monitor/_data``.

Everything else about the package is in pyproject.toml. An editable install packs nothing: there the checkout's own
``rules/`` and ``ebpf/build/`` are used.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CHECKOUT = Path(__file__).resolve().parent
DATA = {
    "rules": ("rules", "**/*.yml"),
    "bpf": ("ebpf/build", "sensors.bpf.o", "enforce.bpf.o", "guard.bpf.o", "inspect.bpf.o"),
}
"""Folder below ``monitor/_data`` -> folder and patterns in the checkout."""


class BuildWithData(build_py):
    """``build_py`` that also copies :data:`DATA`."""

    def run(self) -> None:
        """Build, then pack.

        :raises SystemExit: a folder has nothing to pack; a wheel without it would install and then not work.
        """
        super().run()
        if self.editable_mode:
            return
        for source, target in self._packed():
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target), preserve_mode=False)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """The packed files too, so that installers know of them."""
        packed = [] if self.editable_mode else [str(target) for _, target in self._packed()]
        return [*super().get_outputs(include_bytecode), *packed]

    def _packed(self) -> list[tuple[Path, Path]]:
        pairs = []
        for name, (folder, *patterns) in DATA.items():
            target = Path(self.build_lib, "monitor", "_data", name)
            sources = [source for pattern in patterns for source in self._find(folder, pattern)]
            pairs += [(source, target / source.relative_to(CHECKOUT / folder)) for source in sources]
        return pairs

    @staticmethod
    def _find(folder: str, pattern: str) -> list[Path]:
        sources = sorted((CHECKOUT / folder).glob(pattern))
        if not sources:
            raise SystemExit(f"{CHECKOUT / folder}: nothing matches {pattern}; build it first: make -C ebpf")
        return sources


setup(cmdclass={"build_py": BuildWithData})
