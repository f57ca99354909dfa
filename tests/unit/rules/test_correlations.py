"""What the engine is given of correlation rules."""

from pathlib import Path

from monitor.rules.ruleset import CompiledCorrelation
from tests.support.rule_texts import IDS, event, load_text, rule_text

ONE = rule_text("sel: {Image|endswith: /one}\ncondition: sel", extra="name: one\n", number=1)
TWO = rule_text("sel: {TargetFilename: /two}\ncondition: sel", category="file_access", extra="name: two\n", number=2)


def correlation(folder: Path, body: str) -> CompiledCorrelation:
    head = f"title: Both\nid: {IDS[90]}\nlevel: high\ncorrelation:\n"
    rules = load_text(folder, ONE, TWO, head + "".join(f"  {line}\n" for line in body.splitlines()))
    return rules.correlations[0]


def test_event_count(tmp_path: Path) -> None:
    found = correlation(
        tmp_path, "type: event_count\nrules: one\ngroup-by: [container.id, User]\ntimespan: 5m\ncondition: {gt: 3}"
    )

    assert (found.kind, found.timespan_ns, found.operator, found.count) == ("event_count", 300 * 10**9, "gt", 3)
    assert found.base_rule_ids == (IDS[1],)
    context = event(container__id="ab", user__id=0)
    assert [get(context) for get in found.group_by[0]] == ["ab".rjust(64, "0"), "root"]
    assert [get(event()) for get in found.group_by[0]] == [None, "1000"]


def test_value_count_of_one_and_of_several_fields(tmp_path: Path) -> None:
    body = "type: value_count\nrules: [one]\ntimespan: 1h\ncondition: {gte: 3, field: %s}"
    context = event(process__executable="/x", user__id=7)

    one = correlation(tmp_path, body % "Image").value_of
    two = correlation(tmp_path, body % "[Image, user.id]").value_of
    absent = correlation(tmp_path, body % "[Image, container.id]").value_of

    assert one is not None and one(context) == "/x"
    assert two is not None and two(context) == ("/x", 7)
    assert absent is not None and absent(context) is None


def test_temporal_asks_for_all_its_rules_unless_told(tmp_path: Path) -> None:
    found = correlation(tmp_path, "type: temporal_ordered\nrules: [two, one]\ngroup-by: process.pid\ntimespan: 10s")

    assert found.base_rule_ids == (IDS[2], IDS[1]), "in the order of the file"
    assert (found.operator, found.count, found.is_met) == ("gte", 2, None)
    assert len(found.group_by) == 2


def test_temporal_with_a_boolean_condition(tmp_path: Path) -> None:
    found = correlation(tmp_path, "type: temporal\nrules: [one, two]\ntimespan: 10s\ncondition: one or two")

    assert found.is_met is not None
    assert found.is_met([IDS[2]])
    assert not found.is_met([])


def test_a_boolean_condition_of_ordered_rules_asks_for_their_order(tmp_path: Path) -> None:
    body = "type: %s\nrules: [one, two]\ntimespan: 10s\ncondition: one and two"

    ordered = correlation(tmp_path, body % "temporal_ordered").is_met
    unordered = correlation(tmp_path, body % "temporal").is_met

    assert ordered is not None and unordered is not None
    assert [ordered(seen) for seen in ([IDS[1], IDS[2]], [IDS[2], IDS[1]])] == [True, False]
    assert [unordered(seen) for seen in ([IDS[1], IDS[2]], [IDS[2], IDS[1]])] == [True, True]
    assert ordered([IDS[2], IDS[1], IDS[1], IDS[2]]), "what came between or before does not matter"


def test_aliases_give_each_rule_its_own_field(tmp_path: Path) -> None:
    found = correlation(
        tmp_path,
        "type: temporal\nrules: [one, two]\naliases:\n  what:\n    one: Image\n    two: TargetFilename\n"
        "group-by: [what, user.id]\ntimespan: 10s",
    )

    assert found.group_by[0][0](event(process__executable="/a/one")) == "/a/one"
    assert found.group_by[1][0](event(file__path="/two")) == "/two"


def test_a_correlation_of_a_correlation_comes_after_it(tmp_path: Path) -> None:
    inner = f"title: I\nid: {IDS[80]}\nname: inner\nlevel: low\n" + (
        "correlation: {type: event_count, rules: [one], timespan: 1m, condition: {gte: 2}}\n"
    )
    outer = inner.replace(IDS[80], IDS[81]).replace("name: inner", "name: outer").replace("[one]", "[inner]")

    rules = load_text(tmp_path, outer, inner, ONE)

    assert [found.rule.name for found in rules.correlations] == ["inner", "outer"]
