"""Every shape of cgroup path that a runtime makes, and those of the host."""

import pytest

from monitor.engine.cgroup_paths import find_identity, find_unit, is_host_name

A = "a1" * 32
B = "b2" * 32
UID = "11112222-3333-4444-5555-666677778888"
UID_SYSTEMD = UID.replace("-", "_")
BUILD = "mz2f8k1q9x0c7v6b5n4m3l2k1"

CONTAINERS = {
    f"/docker/{A}": (A, "docker"),
    f"/stkt-4711/docker/{A}": (A, "docker"),
    f"/a/b/{A}": (A, "unknown"),
    f"/system.slice/docker-{A}.scope": (A, "docker"),
    f"/system.slice/docker-{A}.scope/below/it": (A, "docker"),
    f"/kubepods/besteffort/pod{UID}/{A}": (A, "containerd"),
    f"/kubepods/pod{UID}/{A}": (A, "containerd"),
    f"/kubepods/burstable/pod{UID}/crio-{A}": (A, "cri-o"),
    f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_SYSTEMD}.slice/cri-containerd-{A}.scope": (
        A,
        "containerd",
    ),
    f"/kubepods.slice/kubepods-pod{UID_SYSTEMD}.slice/crio-{A}.scope/container": (A, "cri-o"),
    f"/kubepods-burstable-pod{UID_SYSTEMD}.slice:cri-containerd:{A}": (A, "containerd"),
    f"/system.slice:docker:{A}": (A, "docker"),
    f"/default/{A}": (A, "containerd"),
    f"/crio-{A}": (A, "cri-o"),
    f"/machine.slice/libpod-{A}.scope": (A, "podman"),
    f"/machine.slice/libpod-{A}.scope/container": (A, "podman"),
    f"/libpod_parent/libpod-{A}": (A, "podman"),
    f"/libpod_parent/{B}/libpod-{A}": (A, "podman"),
    f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope": (A, "podman"),
    f"/docker/buildkit/{BUILD}": (BUILD, "buildkit"),
    f"/system.slice/docker-{BUILD}.scope": (BUILD, "buildkit"),
    "/buildah-buildah1234567": ("buildah-buildah1234567", "buildah"),
    f"/../../docker/{A}": (A, "docker"),
}

HOST = [
    "/",
    "/init.scope",
    "/system.slice/nginx.service",
    "/system.slice/docker.service",
    "/user.slice/user-1000.slice/session-3.scope",
    "/docker",
    "/docker/buildkit",
    "/kubepods.slice/kubepods-besteffort.slice",
    f"/kubepods/besteffort/pod{UID}",
    f"/kubepods.slice/kubepods-pod{UID_SYSTEMD}.slice/crio-conmon-{A}.scope",
    f"/machine.slice/libpod-conmon-{A}.scope",
    "/libpod_parent/conmon",
    f"/libpod_parent/{B}",
    f"/docker/{A[:-1]}",
    f"/docker/{A.upper()}",
    "/mycontainer",
]


@pytest.mark.parametrize(("path", "expected"), CONTAINERS.items())
def test_a_runtimes_path_tells_container_and_runtime(path: str, expected: tuple[str, str]) -> None:
    identity = find_identity(path)

    assert identity is not None
    assert (identity.container_id, identity.runtime) == expected
    assert path.startswith(identity.container_path)
    assert identity.nested_id == ""


@pytest.mark.parametrize("path", HOST)
def test_a_host_path_is_no_container(path: str) -> None:
    assert find_identity(path) is None


def test_the_outermost_container_is_the_container_and_the_innermost_is_nested() -> None:
    identity = find_identity(f"/docker/{A}/docker/{'d4' * 32}/kubepods/pod{UID}/{B}")

    assert identity is not None
    assert (identity.container_id, identity.nested_id, identity.runtime) == (A, B, "docker")
    assert identity.container_path == f"/docker/{A}"
    assert identity.pod_uid == ""


@pytest.mark.parametrize(
    ("path", "pod"),
    [
        (f"/kubepods/besteffort/pod{UID}/{A}", UID),
        (f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_SYSTEMD}.slice/crio-{A}.scope", UID),
        (f"/kubepods-pod{UID_SYSTEMD}.slice:cri-containerd:{A}", UID),
        (f"/kubepods/burstable/pod{'0f' * 16}/{A}", "0f" * 16),
        (f"/libpod_parent/{B}/libpod-{A}", B),
        (f"/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope", B),
        (f"/docker/{A}", ""),
    ],
)
def test_the_path_tells_the_pod(path: str, pod: str) -> None:
    identity = find_identity(path)

    assert identity is not None
    assert identity.pod_uid == pod


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/", "/"),
        ("/system.slice/cron.service", "/system.slice/cron.service"),
        ("/system.slice/foo.service/worker/1", "/system.slice/foo.service"),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope",
            "/user.slice/user-1000.slice/user@1000.service",
        ),
        ("/user.slice/user-0.slice/session-3.scope", "/user.slice/user-0.slice/session-3.scope"),
        ("/batch/night", "/batch/night"),
    ],
)
def test_a_unit_ends_where_delegation_begins(path: str, unit: str) -> None:
    assert find_unit(path) == unit


@pytest.mark.parametrize("path", ["/", "/init.scope", "/a/b.service", "/c.slice", "/user.slice/session-1.scope"])
def test_names_of_the_service_manager_are_never_free_names(path: str) -> None:
    assert is_host_name(path)


@pytest.mark.parametrize("path", ["/mycontainer", "/default/t1", "/system.slice/runc-web.scope"])
def test_free_names_may_be_containers(path: str) -> None:
    assert not is_host_name(path)
