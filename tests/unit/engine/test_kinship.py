"""Who is killed together: of one lineage, of one container outside its cgroup, born of the killed."""

from monitor.engine.engine import Engine
from monitor.model.container import Container
from monitor.model.events import ContainerFrozen, ResponseFailed
from tests.support import make

A = make.CONTAINER_ID


def told(*stories: make.Story) -> Engine:
    made = make.engine(make.rule_set([]))
    for story in stories:
        make.play(made, story.events)
    return made


def test_born_of_the_killed_are_those_that_live_through_ended_ones_too() -> None:
    story = make.Story()
    root = story.run(story.actor(), "/bin/sh")
    child, middle = story.fork(root), story.fork(root)
    orphan = story.fork(middle)
    gone = story.fork(root)
    story.exit(middle)
    story.exit(gone)
    other = story.run(story.actor(), "/bin/sh")
    story.fork(other)
    made = told(story)

    assert sorted(made.find_born_of([root.key])) == sorted([(child.key, root.key), (orphan.key, root.key)])
    assert made.find_born_of([root.key, middle.key]) == [(child.key, root.key), (orphan.key, middle.key)]
    assert made.find_born_of([]) == []


def test_strays_are_a_containers_processes_that_are_in_no_cgroup_of_its() -> None:
    story = make.Story()
    made = told(story)
    make.play(made, [make.cgroup_create(f"/docker/{A}", 50), make.cgroup_create("/elsewhere", 60)])
    inside = make.exec("/bin/sh", cgroup_id=50, tgid=500)
    leaver = make.exec("/bin/sh", cgroup_id=50, tgid=501)
    host = make.exec("/bin/sh", cgroup_id=60, tgid=502)
    make.play(made, [inside, leaver, host])
    actor = make.Actor(leaver.tgid, leaver.start_boottime_ns, leaver.exec_id, 50)
    make.play(made, [make.cgroup_attach("/elsewhere", 60, actor)])
    container = made.find_container(A)
    assert isinstance(container, Container)

    assert made.find_strays(container) == [leaver.key]


def test_what_was_done_is_shown_with_its_container_and_alerts_only_when_it_failed() -> None:
    made = told()
    make.play(made, [make.cgroup_create(f"/docker/{A}", 50)])

    effects = made.handle(ContainerFrozen(5, "container", A, A, "policy", "risk", 3))
    (context,) = make.contexts(effects)
    assert context.container is made.find_container(A)
    assert make.alerts(effects) == []
    failed = ResponseFailed(6, "container", A, A, "policy", "risk", action="freeze", error="read-only")
    (alert,) = make.alerts(made.handle(failed))
    assert alert.detections[0].rule.name == "response_failed"
    assert alert.detections[0].reason == "freeze of container: read-only"
    needless = ResponseFailed(7, "container", "gone", "gone", "policy", "risk", action="kill", is_needless=True)
    effects = made.handle(needless)
    assert len(make.contexts(effects)) == 1
    assert make.alerts(effects) == []
