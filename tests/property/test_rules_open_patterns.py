"""Whatever a rule matches, the kernel's open filter lets through."""

from hypothesis import given
from hypothesis import strategies as st

from monitor.model.events import FileOpen
from monitor.model.interest import PatternKind
from monitor.model.process import Context
from monitor.rules.categories import CATEGORIES, GUARDS
from monitor.rules.ir import AnyNode
from monitor.rules.open_filter import build_open_patterns, passes
from monitor.rules.regex_bank import compile_regex
from monitor.rules.regex_literals import find_literal_prefix
from tests.support.rule_trees import FILE_TREES, contexts, walk


@given(FILE_TREES, st.sampled_from(sorted(GUARDS)), contexts(is_open=True))
def test_patterns_pass_what_the_rule_matches(tree: AnyNode, category: str, context: Context) -> None:
    event = context.event
    assert isinstance(event, FileOpen)

    if GUARDS[category](context) and walk(tree, context):
        patterns = build_open_patterns(tree, CATEGORIES[category], "rule")
        assert any(passes(pattern, event, in_container=context.container is not None) for pattern in patterns)


@given(FILE_TREES, st.sampled_from(sorted(GUARDS)))
def test_patterns_fit_the_kernels_bounds(tree: AnyNode, category: str) -> None:
    for pattern in build_open_patterns(tree, CATEGORIES[category], "rule"):
        size = len(pattern.text.encode())
        match pattern.kind:
            case PatternKind.PREFIX:
                assert 1 <= size <= 255
            case PatternKind.SUFFIX:
                assert 2 <= size <= 255
            case PatternKind.ANY:
                assert size == 0
            case PatternKind.EXACT:
                assert size > 0


EXPRESSIONS = st.text(alphabet="ab/.\\^$*+?(){}[]|,0123kK", max_size=12)


@given(EXPRESSIONS.map(lambda text: "^" + text), st.text(alphabet="abk/.K0", max_size=8), st.sampled_from(["", "i"]))
def test_a_literal_prefix_is_in_all_that_matches(pattern: str, text: str, flags: str) -> None:
    try:
        search = compile_regex(pattern, flags)
    except ValueError:
        return

    if search(text):
        assert text.lower().startswith(find_literal_prefix(pattern, flags).lower())
