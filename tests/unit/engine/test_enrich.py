"""Which container and lineage an event belongs to, told by runs of events as real runtimes make them."""

import pytest

from monitor.engine.engine import Engine
from monitor.engine.guardrails import GuardrailFacts
from monitor.engine.lineage import Lineage
from monitor.engine.processes import Row
from monitor.model.effects import ResolveContainer
from monitor.model.events import FileOpen, Namespaces, ProcessExec
from monitor.model.ids import ProcessKey, Tgid
from monitor.model.process import Context
from tests.support import make

A = make.CONTAINER_ID
INSIDE = 4_026_539_999
RUNC = "/usr/sbin/runc"


def play(engine: Engine, story: make.Story) -> list[Context]:
    return make.contexts(make.play(engine, story.events))


def of(contexts: list[Context], actor: make.Actor, program: str) -> Context:
    """The exec of this program by this process."""
    found = [
        one
        for one in contexts
        if isinstance(one.event, ProcessExec) and one.process.key == actor.key and one.image.executable == program
    ]
    assert len(found) == 1
    return found[0]


def lineage_of(context: Context) -> Lineage:
    assert isinstance(context.process, Row)
    assert context.process.lineage is not None
    return context.process.lineage


def start_runc(
    story: make.Story, path: str, cgroup_id: int, *, caller: str = "/usr/bin/containerd-shim-runc-v2"
) -> make.Actor:
    """What runc 1.1.5 does, as traced: memfd re-exec, mkdir, attach, two forks, the entry program."""
    shim = story.run(story.actor(), caller)
    runc = story.run(shim, RUNC, "run")
    init = story.run(runc, RUNC, "init")
    story.exec(init, "/memfd:runc_cloned:/proc/self/exe", "init", is_memfd=True, inode=9, device=1)
    story.cgroup(path, cgroup_id)
    story.move(init, path, cgroup_id)
    child = story.fork(init)
    entry = story.fork(child)
    entry.mounts = INSIDE
    story.open(entry, "/proc/self/attr/exec")
    story.exec(entry, "/bin/sh", "-c", "cat /etc/shadow")
    return entry


@pytest.fixture
def engine() -> Engine:
    return make.engine()


def test_runc_with_a_free_name_makes_a_container(engine: Engine) -> None:
    story = make.Story()
    entry = start_runc(story, "/web", 50)
    effects = make.play(engine, story.events)

    context = of(make.contexts(effects), entry, "/bin/sh")
    assert context.container is not None
    assert (context.container.id, context.container.runtime) == ("web", "containerd")
    assert not context.is_runtime_init
    assert [effect.container.id for effect in effects if isinstance(effect, ResolveContainer)] == ["web"]


def test_what_runc_does_in_the_containers_cgroup_is_its_set_up(engine: Engine) -> None:
    story = make.Story()
    entry = start_runc(story, f"/docker/{A}", 50)
    story.open(entry, "/etc/shadow")
    opens = [one for one in play(engine, story) if isinstance(one.event, FileOpen)]

    assert [(one.event.path, one.is_runtime_init, one.container is not None) for one in opens] == [  # type: ignore[union-attr]
        ("/proc/self/attr/exec", True, True),
        ("/etc/shadow", False, True),
    ]


def test_a_set_up_open_that_is_read_after_the_entry_program_still_is_set_up(engine: Engine) -> None:
    story = make.Story()
    start_runc(story, f"/docker/{A}", 50)
    late = next(event for event in story.events if isinstance(event, FileOpen))
    story.events.remove(late)
    story.events.append(late)

    assert play(engine, story)[-1].is_runtime_init


def test_crun_forks_straight_into_the_containers_cgroup(engine: Engine) -> None:
    story = make.Story()
    crun = story.run(story.actor(), "/usr/bin/crun", "run", "web")
    story.exec(crun, "/memfd:libcrun", is_memfd=True)
    story.cgroup("/stkt-1/web", 50)
    entry = story.fork(crun, cgroup_id=50)
    entry.mounts = INSIDE
    story.exec(entry, "/bin/busybox")
    contexts = play(engine, story)

    context = of(contexts, entry, "/bin/busybox")
    assert context.container is not None
    assert (context.container.id, context.container.runtime) == ("web", "runc")
    assert not context.is_runtime_init
    assert contexts[-2].is_runtime_init  # the fork


def test_runc_below_a_service_does_not_make_the_service_a_container(engine: Engine) -> None:
    story = make.Story()
    story.cgroup("/system.slice/containerd.service", 30)
    shim = story.run(story.fork(story.actor(), cgroup_id=30), "/usr/bin/containerd-shim-runc-v2")
    runc = story.run(shim, RUNC, "create")

    assert of(play(engine, story), runc, RUNC).container is None


def test_a_program_that_only_calls_itself_runc_makes_no_container(engine: Engine) -> None:
    story = make.Story()
    story.cgroup("/user.slice/user-1000.slice/user@1000.service/mine", 60)
    user = story.fork(story.actor())
    user.uid = 1_000
    story.exec(user, "/home/mallory/runc")
    story.move(user, "/user.slice/user-1000.slice/user@1000.service/mine", 60)
    story.open(user, "/etc/passwd")

    context = play(engine, story)[-1]
    assert context.container is None
    assert not context.is_runtime_init


def test_a_rootless_runtime_is_known_by_its_inode_and_needs_a_containers_shape() -> None:
    engine = make.engine(facts=GuardrailFacts(runtime_files=frozenset({(2_049, 4_711)})))
    story = make.Story()
    path = f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope"
    story.cgroup(path, 60)
    user = story.fork(story.actor())
    user.uid = 1_000
    story.exec(user, "/usr/bin/crun", inode=4_711)
    child = story.fork(user, cgroup_id=60)
    story.open(child, "/etc/hosts")

    context = play(engine, story)[-1]
    assert context.container is not None
    assert context.container.runtime == "podman"
    assert context.is_runtime_init


def test_an_image_whose_entry_program_is_the_runtime_itself_is_judged(engine: Engine) -> None:
    """CVE-2019-5736: ``/proc/self/exe`` as entry program runs the runtime with the image's libraries."""
    story = make.Story()
    entry = start_runc(story, f"/docker/{A}", 50)
    story.events.pop()
    entry.exec_id -= 1
    story.exec(entry, "/memfd:runc_cloned:/proc/self/exe", "init", is_memfd=True, inode=9, device=1)
    story.open(entry, "/etc/shadow")

    assert not play(engine, story)[-1].is_runtime_init


def test_a_set_up_step_that_takes_too_long_is_judged(engine: Engine) -> None:
    story = make.Story()
    entry = start_runc(story, f"/docker/{A}", 50)
    story.events.pop()
    entry.exec_id -= 1
    story.wait(120)
    story.open(entry, "/etc/shadow")

    assert not play(engine, story)[-1].is_runtime_init


def test_containers_with_free_names_that_run_already_are_found_by_the_walk(engine: Engine) -> None:
    engine.handle(make.cgroup_create("/default/t1", 70))
    facts = {"tgid": 300, "start_boottime_ns": 3_000, "exec_id": 4}
    shim = make.exec("/usr/bin/containerd-shim-runc-v2", **facts, from_proc=True)
    inside = Namespaces(mnt=INSIDE, pid=77)
    entry = make.exec(
        "/bin/app",
        tgid=301,
        start_boottime_ns=3_010,
        from_proc=True,
        cgroup_id=70,
        namespace_tgid=1,
        namespaces=inside,
        parent_tgid=300,
        parent_start_boottime_ns=3_000,
    )
    assert make.contexts(engine.handle(shim) + engine.handle(entry)) == []
    assert [(one.id, one.runtime) for one in engine.containers()] == [("t1", "containerd")]


@pytest.mark.parametrize("path", ["/", "/system.slice/foo.service", "/user.slice/user-1.slice/user@1.service/app"])
def test_a_sandbox_of_the_host_is_not_taken_for_a_container_by_the_walk(engine: Engine, path: str) -> None:
    engine.handle(make.cgroup_create(path, 70))
    inside = Namespaces(mnt=INSIDE, pid=77)
    engine.handle(
        make.exec("/usr/lib/browser", tgid=301, from_proc=True, cgroup_id=70, namespace_tgid=1, namespaces=inside)
    )
    assert engine.containers() == []


@pytest.mark.parametrize(("path", "name"), [(f"/docker/{A}", A), ("/a-free-name", "a-free-name")])
def test_a_second_walk_in_another_hierarchy_finds_containers_among_known_processes(
    engine: Engine, path: str, name: str
) -> None:
    """On cgroup2 all had the root's id; what the rings still hold has it too."""
    story = make.Story()
    shell = story.run(story.actor(1, 1), "/bin/sh")
    entry = start_runc(story, "/", make.HOST_CGROUP)
    play(engine, story)
    v1 = 8 << 40
    inside = Namespaces(mnt=entry.mounts, pid=77)
    engine.handle(make.cgroup_create("/", v1 + 1))
    engine.handle(make.cgroup_create(path, v1 + 5))
    engine.handle(make.cgroup_remove("/", make.HOST_CGROUP, ktime_ns=100 * make.SECOND))
    for actor, number, namespaces, tgid in ((shell, 1, Namespaces(mnt=1), shell.tgid), (entry, 5, inside, 1)):
        walked = make.exec(
            "/bin/other", tgid=actor.tgid, start_boottime_ns=actor.start, exec_id=actor.exec_id, from_proc=True,
            cgroup_id=v1 + number, namespaces=namespaces, namespace_tgid=tgid,
        )  # fmt: skip
        assert make.contexts(engine.handle(walked)) == []

    def seen(actor: make.Actor, cgroup_id: int) -> Context:
        facts = {"tgid": actor.tgid, "start_boottime_ns": actor.start, "exec_id": actor.exec_id}
        (context,) = make.contexts(engine.handle(make.exec_failed(**facts, cgroup_id=cgroup_id)))
        return context

    for cgroup_id in (v1 + 5, make.HOST_CGROUP):
        context = seen(entry, cgroup_id)
        assert context.container is not None
        assert context.container.id == name
        assert context.image.executable == "/bin/sh", "what the ring told of the program is better than /proc's"
    assert seen(shell, v1 + 1).container is None
    assert lineage_of(seen(entry, v1 + 5)).container_id == name


def test_a_process_that_leaves_its_containers_cgroup_stays_the_containers_and_is_told(engine: Engine) -> None:
    story = make.Story()
    entry = start_runc(story, f"/docker/{A}", 50)
    story.move(entry, "/", make.HOST_CGROUP)
    child = story.fork(entry)
    story.exec(child, "/bin/id")
    effects = make.play(engine, story.events)

    assert make.names(make.alerts(effects)) == ["container_cgroup_left"]
    context = of(make.contexts(effects), child, "/bin/id")
    assert context.container is not None
    assert context.container.id == A


def test_a_cgroup_that_nothing_told_of_keeps_the_processes_container(engine: Engine) -> None:
    story = make.Story()
    entry = start_runc(story, f"/docker/{A}", 50)
    child = story.fork(entry, cgroup_id=987_654)
    story.exec(child, "/bin/id")

    context = of(play(engine, story), child, "/bin/id")
    assert context.container is not None
    assert engine.stats()["events.unknown_cgroup"] > 0


# --- lineages ---------------------------------------------------------------------------------


def test_all_that_an_entry_program_starts_is_one_lineage(engine: Engine) -> None:
    story = make.Story()
    entry = start_runc(story, f"/docker/{A}", 50)
    child = story.run(entry, "/bin/cat")
    executed = start_runc(story, f"/docker/{A}", 50)  # docker exec
    contexts = play(engine, story)

    entry_lineage = lineage_of(of(contexts, entry, "/bin/sh"))
    assert entry_lineage.root == entry.key
    assert lineage_of(of(contexts, child, "/bin/cat")) is entry_lineage
    assert lineage_of(of(contexts, executed, "/bin/sh")).root == executed.key


def test_a_service_of_the_first_process_is_a_lineage_and_a_double_fork_stays_in_it(engine: Engine) -> None:
    init = make.exec("/sbin/init", tgid=1, start_boottime_ns=1, exec_id=1, parent_tgid=0, from_proc=True)
    engine.handle(init)
    story = make.Story()
    nginx = story.run(story.actor(1, 1), "/usr/sbin/nginx")
    cron = story.run(story.actor(1, 1), "/usr/sbin/cron")
    middle = story.fork(nginx)
    story.exit(middle)
    shell = story.run(middle, "/bin/sh")
    contexts = play(engine, story)

    assert lineage_of(of(contexts, nginx, "/usr/sbin/nginx")).root == nginx.key
    assert lineage_of(of(contexts, cron, "/usr/sbin/cron")).root == cron.key
    assert lineage_of(of(contexts, shell, "/bin/sh")).root == nginx.key


def test_a_login_begins_a_lineage_that_knows_where_it_came_from(engine: Engine) -> None:
    story = make.Story()
    sshd = story.run(story.actor(), "/usr/sbin/sshd")
    shell = story.run(sshd, "/usr/bin/bash", login_uid=1_000)
    below = story.run(shell, "/usr/bin/id", login_uid=1_000)
    contexts = play(engine, story)

    lineage = lineage_of(of(contexts, shell, "/usr/bin/bash"))
    assert lineage.root == shell.key
    assert lineage.parent is lineage_of(of(contexts, sshd, "/usr/sbin/sshd"))
    assert lineage_of(of(contexts, below, "/usr/bin/id")) is lineage


def test_a_units_programs_are_a_lineage_and_delegated_cgroups_are_no_way_out(engine: Engine) -> None:
    story = make.Story()
    story.cgroup("/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope", 80)
    story.cgroup("/user.slice/user-1000.slice/user@1000.service/mine", 81)
    story.cgroup("/system.slice/cron.service", 82)
    shell = story.exec(story.fork(story.actor(), cgroup_id=80), "/bin/bash")
    moved = story.exec(story.fork(shell, cgroup_id=81), "/tmp/evil")
    service = story.exec(story.fork(shell, cgroup_id=82), "/usr/sbin/cron")
    contexts = play(engine, story)

    assert lineage_of(of(contexts, moved, "/tmp/evil")).root == shell.key
    assert lineage_of(of(contexts, service, "/usr/sbin/cron")).root == service.key


def test_the_chain_of_lineages_is_bounded(engine: Engine) -> None:
    story = make.Story()
    actor = story.actor()
    for number in range(40):
        story.cgroup(f"/system.slice/s{number}.service", 200 + number)
        actor = story.exec(story.fork(actor, cgroup_id=200 + number), "/bin/next")
    lineage: Lineage | None = lineage_of(play(engine, story)[-1])

    depth = 0
    while lineage is not None:
        lineage, depth = lineage.parent, depth + 1
    assert depth <= 10


# --- ourselves --------------------------------------------------------------------------------


def test_our_own_tasks_are_counted_and_not_shown() -> None:
    own = ProcessKey(Tgid(600), 6_000)
    engine = make.engine(facts=GuardrailFacts(service_keys=frozenset({own})))
    engine.handle(make.exec("/usr/bin/python3", tgid=600, start_boottime_ns=6_000, exec_id=1, from_proc=True))
    story = make.Story()
    helper = story.run(story.actor(600, 6_000), "/usr/bin/nft")
    story.exit(helper)

    assert play(engine, story) == []
    assert engine.stats()["events.own"] == 3


def test_the_key_is_marked_also_when_it_is_told_later() -> None:
    own = ProcessKey(Tgid(600), 6_000)
    engine = make.engine()
    engine.handle(make.exec("/usr/bin/python3", tgid=600, start_boottime_ns=6_000, exec_id=1, from_proc=True))
    engine.replace_facts(GuardrailFacts(service_keys=frozenset({own})))
    story = make.Story()
    story.fork(story.actor(600, 6_000))

    assert play(engine, story) == []
