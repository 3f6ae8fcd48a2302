"""What is told of a search: the finding, kernels, layouts, files; each by a case computed by hand."""

import json

import numpy as np
import pytest

from stages.collect.tpu.choices import FREE
from stages.collect.tpu.cutting import Kernel
from stages.collect.tpu.simulate import KernelCost, Simulation
from stages.collect.tpu_data.store import Tried
from stages.tuning import outcome, report
from stages.tuning.attempts import Attempts
from stages.tuning.snippet import Snippet
from tests.support.tuning import KERNEL, OWN_NS, Rows, small


def ended(folder, problem, costs, budget=None, interrupted=False):
    """The outcome of a search that compiled configurations with these times, and its files' folder."""
    attempts = Attempts(
        problem.free, problem.own_ns, None, Tried(folder / "tried.jsonl", "1"), len(costs) if budget is None else budget
    )
    for number, time_ns in enumerate(costs):
        choice = problem.free
        choice[number % len(choice)] = 1
        attempts.choices.append(choice)
        attempts.times_ns.append(time_ns)
    best, best_ns = attempts.best
    about = {"judge": "models", "collection": "layout:xla:random", "judged": 1234, "interrupted": interrupted}
    pair = (simulation(("fusion.1", "a", 1, 100.0)), simulation(("fusion.1", "b", 1, 70.0)))
    faster = best_ns < problem.own_ns
    result = outcome.of(problem, attempts, best, best_ns, pair if faster else None, **about)
    report.write(folder, result, problem.constrained(best))
    return result


def simulation(*kernels):
    """Of (name, text, trips, nanoseconds); the text stands for what a kernel does."""
    return Simulation(
        tuple(
            KernelCost(Kernel(name, "fusion", KERNEL.format(what), n), ns, None, None) for name, what, n, ns in kernels
        )
    )


def test_kernels_that_both_programs_have_are_left_out():
    before = simulation(("fusion.1", "a", 1, 10.0), ("fusion.2", "b", 3, 20.0), ("copy.1", "copy", 1, 5.0))
    after = simulation(("fusion.9", "a", 1, 10.0), ("fusion.2", "c", 3, 15.0), ("fusion.3", "d", 1, 2.0))
    kernels = outcome.differing(before, after)
    assert [(each.name, each.before_ns, each.after_ns, each.saved_ns) for each in kernels] == [
        ("fusion.2", 60.0, 45.0, 15.0),
        ("copy.1", 5.0, None, 5.0),
        ("fusion.3", None, 2.0, -2.0),
    ]
    assert sum(each.saved_ns for each in kernels) == before.time_ns - after.time_ns
    assert outcome.by_kind(kernels) == {"elementwise": 13.0, "copy": 5.0}


def test_of_two_kernels_alike_the_one_that_is_gone_counts():
    before = simulation(("fusion.1", "a", 1, 10.0), ("fusion.2", "a", 1, 10.0))
    (kernel,) = outcome.differing(before, simulation(("fusion.1", "a", 1, 10.0)))
    assert (kernel.before_ns, kernel.after_ns) == (10.0, None)


def test_a_layout_is_written_as_jax_takes_it(tmp_path):
    problem = small()
    place = next(
        place
        for place, slot in enumerate(problem.slots)
        if (0, 3, 2, 1) in slot.layouts and slot.slot == 0 and slot.node == 0
    )
    choice = problem.free
    choice[place] = problem.slots[place].layouts.index((0, 3, 2, 1))
    (layout,) = outcome.forced(problem, choice)
    assert (layout.node, layout.slot, layout.shape) == ("conv", "output", "f32[32,28,28,512]")
    # XLA has the minor dimension first, JAX the major one: batch is minor, then feature, width, height.
    assert layout.minor_to_major == (0, 3, 2, 1) and layout.major_to_minor == (1, 2, 3, 0)
    assert "f32[32,28,28,512]{0,3,2,1} custom-call(%conv.free)" in problem.constrained(choice)


def test_the_finding_says_how_much_and_by_how_many(tmp_path):
    result = ended(tmp_path, small(), [120_000.0, 80_000.0, None])
    assert result.gain == pytest.approx(1.25)
    assert result.finding() == (
        "A configuration 1.250 times as fast as the compiler's own choice was found in 3 compilations: "
        "80.0 µs instead of 100.0 µs."
    )
    assert result.best_so_far().tolist() == [OWN_NS, OWN_NS, 80_000.0, 80_000.0]
    page = (tmp_path / report.PAGE).read_text()
    assert page.index("1.250 times as fast") < page.index("What each compilation bought")
    assert "The fastest was compilation 2. 1 configuration could not be compiled." in page


def test_no_gain_is_said_as_such(tmp_path):
    result = ended(tmp_path, small(), [120_000.0, OWN_NS])
    assert result.finding() == (
        "No gain: in 2 compilations nothing was faster than the compiler's own choice, 100.0 µs."
    )
    page = (tmp_path / report.PAGE).read_text()
    assert "No gain" in page and "Where the gain comes from" not in page
    assert json.loads((tmp_path / report.LAYOUTS).read_text()) == []
    assert "LayoutConstraint" not in (tmp_path / report.HLO).read_text()


def test_a_tiny_gain_is_none_to_speak_of(tmp_path):
    finding = ended(tmp_path, small(), [99_950.0]).finding()
    assert finding.startswith("No gain to speak of: in 1 compilation the fastest configuration takes 100.0 µs")
    assert ended(tmp_path, small(), [99_800.0]).finding().startswith("A configuration 1.002 times as fast")


@pytest.mark.parametrize(
    ("interrupted", "words"), [(True, "was interrupted after 1 of 9"), (False, "no more candidates that differ")]
)
def test_a_search_that_ended_early_says_why(tmp_path, interrupted, words):
    assert words in ended(tmp_path, small(), [90_000.0], 9, interrupted).finding()


def test_every_output_says_what_its_times_are(tmp_path):
    ended(tmp_path, small(), [90_000.0])
    for name in (report.PAGE, report.OUTCOME):
        assert outcome.TIMES in (tmp_path / name).read_text().replace("&#39;", "'")


def test_the_same_search_gives_the_same_bytes(tmp_path):
    contents = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        ended(tmp_path / name, small(), [90_000.0, None, 80_000.0])
        names = (report.PAGE, report.OUTCOME, report.LAYOUTS, report.HLO)
        contents.append([(tmp_path / name / each).read_bytes() for each in names])
    assert contents[0] == contents[1]


def test_the_page_says_what_of_the_gain_is_left_in_jax(tmp_path):
    result = ended(tmp_path, small(), [80_000.0])
    told = report.in_jax(result, Snippet("", forced=2, of=3, time_ns=85_000.0))
    assert "forces 2 of the 3 layouts" in told
    assert "takes 85.0 µs: of the 20.0 µs that the search saves 15.0 are left" in told
    assert "the compiler refuses it" in report.in_jax(result, Snippet("", 2, 3, None))
    assert "None of these layouts can be forced in JAX" in report.in_jax(result, None)


def test_a_snippet_of_an_earlier_search_does_not_stay(tmp_path):
    problem = small()
    result = ended(tmp_path, problem, [80_000.0])
    report.write(tmp_path, result, "", Snippet("# mine", 1, 1, 80_000.0))
    assert (tmp_path / report.TUNED).read_text() == "# mine"
    report.write(tmp_path, result, "")
    assert not (tmp_path / report.TUNED).exists()


def test_layouts_that_change_nothing_are_left_out():
    problem = small()

    class Blind(Rows):
        """Of which the first two slots are no part."""

        def rows(self, choices):
            return super().rows(choices)[:, 2:]

    choice = np.zeros(len(problem.slots), np.int8)
    kept = outcome.simplified(Blind(problem), choice)
    assert kept.tolist() == [FREE, FREE, *[0] * (len(choice) - 2)]
    assert choice.tolist() == [0] * len(choice)
