"""``--root``: the service installed into a root tree from outside, as one does for an image, and removed again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.install.running import How, run
from tests.install.tree import CHECKOUT, COPY, Tree, make_tree

FIRST_CALL_S = 400
OURS = {"etc/stockade", "opt/stockade", "var/lib/stockade", "run/stockade"}


def call(script: str, *arguments: str, folder: Path = CHECKOUT, **variables: str) -> tuple[int, str]:
    """Run one of this checkout's scripts on this machine; answers its exit status and what it said."""
    done = run([CHECKOUT / "scripts" / script, *arguments], How(FIRST_CALL_S, variables, folder))
    return done.returncode, done.stdout


def make_empty_tree(root: Path) -> Path:
    """A folder that passes for a root tree."""
    (root / "usr/bin").mkdir(parents=True)
    return root


@pytest.mark.parametrize("script", ["install", "uninstall"])
@pytest.mark.parametrize("root", ["", "/nowhere", "etc"])
def test_what_is_no_tree_is_told_before_anything_is_done(script: str, root: str, tmp_path: Path) -> None:
    make_empty_tree(tmp_path)

    status, output = call(script, "--root", root, folder=tmp_path)

    assert status == 2
    assert output == f"scripts/{script}: --root '{root}': not a root tree: it has no usr/bin\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["usr"]


@pytest.mark.parametrize("script", ["install", "uninstall"])
def test_a_link_that_leads_out_of_the_tree_is_refused(script: str, tmp_path: Path) -> None:
    tree, mine = make_empty_tree(tmp_path / "tree"), tmp_path / "mine"
    (mine / "stockade").mkdir(parents=True)
    (tree / "opt").symlink_to(mine)

    status, output = call(script, "--root", str(tree))

    assert status == 3
    assert f"/opt/stockade is a link that leads out of it, to {mine}/stockade" in output
    assert (mine / "stockade").is_dir()


def test_a_folder_without_wheels_is_told_before_anything_is_done(tmp_path: Path) -> None:
    status, output = call("install", "--wheels", str(tmp_path))

    assert status == 2
    assert output == f"scripts/install: --wheels '{tmp_path}': no wheels there; docs/install.md says how to make them\n"


@pytest.mark.kernel
def test_a_tree_without_anything_of_ours_has_nothing_to_remove(tmp_path: Path) -> None:
    tree = make_empty_tree(tmp_path / "a tree")
    (tree / "etc").mkdir()
    (tree / "etc/group").write_text("root:x:0:\n")

    status, output = call("uninstall", "--root", "a tree", "--purge", folder=tmp_path, CDPATH=f".:{tmp_path}")

    assert status == 0, output
    assert (tree / "etc/group").read_text() == "root:x:0:\n"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    """A Debian tree without device nodes, as images that are kept as archives have it."""
    tree = make_tree(tmp_path_factory.mktemp("image") / "tree", "bookworm")
    shutil.rmtree(tree.root / COPY.parent.relative_to("/"))
    shutil.rmtree(tree.root / "dev")
    (tree.root / "dev").mkdir()
    yield tree
    shutil.rmtree(tree.root)


def find_ours(tree: Tree) -> set[str]:
    return {place for place in OURS if (tree.root / place).exists()}


@pytest.mark.kernel
@pytest.mark.long
def test_install_into_a_tree_leaves_this_machine_alone_and_the_tree_complete(image: Tree) -> None:
    status, output = call("install", "--root", str(image.root), **image.environment)

    assert status == 0, output
    assert f"installed in {image.root}" in output
    assert find_ours(image) == {"etc/stockade", "opt/stockade", "var/lib/stockade"}
    assert "stockade:" in image.read("/etc/group")
    assert list((image.root / "dev").iterdir()) == []
    assert str(image.root) not in Path("/proc/mounts").read_text()
    assert (image.root / "usr/local/bin/stockade").readlink() == Path("/opt/stockade/current/bin/stockade")
    for command in (("--version",), ("rules", "check"), ("run", "--duration", "1")):
        done = image.run("stockade", *command)
        assert done.returncode == 0, done.stdout


@pytest.mark.kernel
@pytest.mark.long
def test_the_units_are_enabled_where_the_tree_has_systemd(image: Tree) -> None:
    link = image.root / "etc/systemd/system/multi-user.target.wants/stockade.service"
    installed = image.run("apt-get", "install", "-qq", "--no-install-recommends", "systemd", timeout=FIRST_CALL_S)
    assert installed.returncode == 0, installed.stdout

    status, output = call("install", "--root", str(image.root), "--no-start", **image.environment)
    assert status == 0, output
    assert not link.is_symlink()

    status, output = call("install", "--root", str(image.root), **image.environment)

    assert status == 0, output
    assert "is there already" in output
    assert link.is_symlink()


@pytest.mark.kernel
@pytest.mark.long
def test_uninstall_takes_it_out_of_the_tree(image: Tree) -> None:
    status, output = call("uninstall", "--root", str(image.root))

    assert status == 0, output
    assert find_ours(image) == {"etc/stockade", "var/lib/stockade"}
    assert not (image.root / "usr/local/bin/stockade").is_symlink()
    assert not list((image.root / "etc/systemd").rglob("stockade*"))

    status, output = call("uninstall", "--root", str(image.root), "--purge")

    assert status == 0, output
    assert find_ours(image) == set()
    assert "stockade:" not in image.read("/etc/group")
