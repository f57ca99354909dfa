"""Which container runtimes a host has, on hosts made of files."""

import socket
from pathlib import Path

from monitor.host.runtimes import find_runtimes


def install(root: Path, *names: str) -> None:
    (root / "usr/bin").mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / "usr/bin" / name).touch(mode=0o755)


def listen(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def test_an_empty_host_has_none(tmp_path: Path) -> None:
    assert find_runtimes(tmp_path) == ()


def test_installed_is_not_active(tmp_path: Path) -> None:
    install(tmp_path, "runc", "dockerd")
    (tmp_path / "run/runc").mkdir(parents=True)

    docker, runc = find_runtimes(tmp_path)

    assert (docker.name, docker.binary, docker.is_active) == ("docker", tmp_path / "usr/bin/dockerd", False)
    assert (runc.name, runc.state_dir, runc.is_active) == ("runc", None, False)


def test_a_socket_or_state_makes_active(tmp_path: Path) -> None:
    listen(tmp_path / "run/crio/crio.sock")
    (tmp_path / "run/crun/some-container").mkdir(parents=True)

    crio, crun = find_runtimes(tmp_path)

    assert (crio.name, crio.socket, crio.is_active) == ("cri-o", tmp_path / "run/crio/crio.sock", True)
    assert (crun.name, crun.binary, crun.is_active) == ("crun", None, True)


def test_a_file_in_place_of_a_socket_is_none(tmp_path: Path) -> None:
    (tmp_path / "run/docker.sock").parent.mkdir()
    (tmp_path / "run/docker.sock").touch()

    assert find_runtimes(tmp_path) == ()


def test_the_containerd_of_k3s(tmp_path: Path) -> None:
    listen(tmp_path / "run/k3s/containerd/containerd.sock")

    (containerd,) = find_runtimes(tmp_path)

    assert containerd.socket == tmp_path / "run/k3s/containerd/containerd.sock"
