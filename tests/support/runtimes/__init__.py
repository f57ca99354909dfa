"""Docker, containerd and podman as they are on hosts, in a sandbox: real daemons, images made by the test.

::

    with Sandbox("hybrid", network=True) as sandbox, Docker(sandbox) as docker:
        docker.load(image)
        docker.run(image, "cat", "/etc/hostname").stdout
        container = docker.create(image, "sleep", "3600", flags=("--label=a=b",))
        container.start()
        container.exec("true")
        container.remove()
"""

from tests.support.runtimes.containerd import Containerd
from tests.support.runtimes.docker import Docker
from tests.support.runtimes.podman import Podman
from tests.support.runtimes.runtime import Container, Runtime

ALL: tuple[type[Runtime], ...] = (Docker, Containerd, Podman)

__all__ = ["ALL", "Container", "Containerd", "Docker", "Podman", "Runtime"]
