import re
import time
from dataclasses import replace
from typing import Any

import pytest

from demur.attacks import attack
from demur.errors import InputError
from demur.prompts import uses
from demur.prompts.builtin import builtin
from demur.prompts.pairs import Pair
from demur.prompts.sets import PromptSets, builtin_sets
from demur.types import Prompt


def rows(*texts, use=None):
    return [Prompt(f"p{i}", text, "mine", use=use) for i, text in enumerate(texts)]


BREAD, CAKE, WINE, SOUP = "How do I bake bread?", "How do I ice cakes?", "Where is wine sold?", "Who boils soup?"


def test_rows_of_no_use_may_have_any_role():
    uses.check(fitting=rows(BREAD, CAKE), validation=rows(WINE), test=rows(SOUP))
    uses.check(held_out=rows(BREAD))


@pytest.mark.parametrize(("a", "b"), [("fitting", "validation"), ("fitting", "test"), ("validation", "test")])
def test_one_text_in_two_roles_is_refused(a, b):
    with pytest.raises(InputError, match=rf"1 prompts are in both the {a} and the {b} split, such as 'How do I bake"):
        uses.check(**{a: rows(BREAD, CAKE), b: rows(WINE, BREAD)})


@pytest.mark.parametrize("near", ["how do i BAKE a bread", "Bake bread!", "Bake bread quickly"])
def test_near_duplicates_in_two_roles_are_refused_with_the_pair(near):
    with pytest.raises(InputError, match=rf"the fitting prompt 'How do I bake bread\?' and the test prompt '{near}'"):
        uses.check(fitting=rows(CAKE, BREAD), test=rows(WINE, near))


def test_near_duplicates_within_a_role_leak_nothing():
    uses.check(fitting=rows(BREAD, "Bake bread quickly", BREAD), validation=rows(WINE, WINE))


@pytest.mark.parametrize(
    ("role", "use", "fits"),
    [
        ("fitting", "fit", True),
        ("fitting", "validation", False),
        ("fitting", "test", False),
        ("fitting", "training", False),
        ("validation", "validation", True),
        ("validation", "fit", False),
        ("test", "test", True),
        ("test", "validation", False),
        ("held_out", "validation", True),
        ("held_out", "test", True),
        ("held_out", "fit", False),
    ],
)
def test_a_row_that_is_reserved_has_its_own_role_only(role, use, fits):
    given = {role: rows(BREAD, use=use)}
    if fits:
        return uses.check(**given)
    with pytest.raises(InputError, match=rf"prompt 'p0' is reserved for {use}; .* prompts are those of use"):
        uses.check(**given)


def test_a_request_is_compared_bare_whatever_attack_it_is_in():
    (one,) = rows(BREAD)
    with pytest.raises(InputError, match="both the fitting and the validation split"):
        uses.check(fitting=[attack(one, "base64")], validation=[attack(one, "fiction")])


def test_pairs_are_compared_by_their_questions():
    tea, bus = Pair("a", "Tea now?", "Yes.", "No."), Pair("b", "Ride the bus?", "Yes.", "No.", use="fit")
    uses.check(fitting=[tea, bus])
    with pytest.raises(InputError, match="pair 'b' is reserved for fit; held-out pairs are those of use"):
        uses.check(held_out=[tea, bus])
    with pytest.raises(InputError, match="both the fitting and the test split"):
        uses.check(fitting=[tea], test=rows("Tea now?"))


def test_a_role_without_rows_is_refused():
    with pytest.raises(InputError, match="there are no validation prompts"):
        uses.check(fitting=rows(BREAD), validation=[])


def test_the_built_in_sets_pass_and_it_takes_no_time():
    fitting, validation, test = (
        [p for kind in ("harmful", "borderline", "plain") for p in builtin(kind, use)]
        for use in ("fit", "validation", "test")
    )
    start = time.perf_counter()
    uses.check(fitting=fitting, validation=validation)
    assert time.perf_counter() - start < 0.2, "0.02 s on an idle machine"
    uses.check(fitting=fitting, validation=validation, test=test)
    same = [Prompt(f"x{i}", f"How do I pick lock number {i}?", "mine") for i in range(1000)]
    start = time.perf_counter()
    uses.check(fitting=same, validation=rows(WINE))
    assert time.perf_counter() - start < 0.5, "rows that are alike within a role are not compared"


OWN = PromptSets("A", tuple(replace(p, id=f"own {p.id}", text=f"{p.text} zebra{i} quokka{i} narwhal{i}")
                            for i, p in enumerate(builtin_sets().prompts[::6])))  # fmt: skip
"""Prompts of no one else: three words of each stand nowhere else."""


def moved(sets: PromptSets) -> PromptSets:
    """The same rows, those for fitting and those for the test exchanged, as another division of them may have it."""
    turned: Any = {"fit": "test", "test": "fit", "validation": "validation"}
    return PromptSets("B", tuple(replace(p, use=turned[p.use]) for p in sets.prompts))


def test_an_artifact_is_not_scored_on_what_it_was_fitted_on():
    origin = {"fitted_on": [OWN.fitted_on()]}
    uses.check_artifact(origin, OWN)
    uses.check_artifact(origin, builtin_sets())
    with pytest.raises(InputError, match=r"fitted or chosen on \(A\), nearly repeats .* \(B\); fit again with these"):
        uses.check_artifact(origin, moved(OWN))
    fit = OWN.take("harmful", "fit")
    some = {"fitted_on": [OWN.fitted_on([fit[0].text])]}
    tested = [replace(p, use="test") if p.id == fit[1].id else p for p in OWN.prompts]
    uses.check_artifact(some, PromptSets("C", tuple(tested)))
    tested = [replace(p, use="test", text=f"Please, {p.text.upper()}") if p.id == fit[0].id else p for p in OWN.prompts]
    with pytest.raises(InputError, match=re.escape(f"{fit[0].text!r}, which")):
        uses.check_artifact(some, PromptSets("C", tuple(tested)))


def test_an_artifact_of_built_in_prompts_is_not_scored_on_them_in_a_users_file():
    record = builtin_sets().fitted_on()
    assert record == {"name": "built-in", "sha256": builtin_sets().sha256}
    same = PromptSets("mine", tuple(replace(p, id=f"mine {p.id}") for p in builtin_sets().prompts[::6]))
    # Older directions say it in `prompts`; what is made of an artifact says it in what it is made of.
    origins = [{"fitted_on": [record]}, {"prompts": builtin_sets().record()}]
    for origin in [*origins, {"of": origins[0]}, {"from": {"of": origins[1]}}]:
        uses.check_artifact(origin, builtin_sets())
        uses.check_artifact(origin, same)
        uses.check_artifact(origin, OWN)
        with pytest.raises(InputError, match=r"fitted or chosen on \(built-in\)"):
            uses.check_artifact(origin, moved(same))


def test_an_artifact_of_a_users_prompts_is_not_scored_on_them_among_the_built_in_ones():
    same = PromptSets("mine", tuple(replace(p, id=f"mine {p.id}") for p in builtin_sets().prompts[::6]))
    uses.check_artifact({"fitted_on": [same.fitted_on()]}, builtin_sets())
    with pytest.raises(InputError, match=r"fitted or chosen on \(B\)"):
        uses.check_artifact({"fitted_on": [moved(same).fitted_on()]}, builtin_sets())


@pytest.mark.parametrize("origin", [{}, {"method": "by hand"}, {"prompts": ["p1", "p2"]}, {"fitted_on": "hearsay"}])
def test_an_artifact_that_does_not_say_what_it_was_fitted_on_passes(origin):
    uses.check_artifact(origin, OWN)


def test_checking_an_artifact_takes_no_time():
    origin = {"fitted_on": [builtin_sets().fitted_on()]}
    other = PromptSets("mine", builtin_sets().prompts[1:])
    best = float("inf")
    for sets in (other, other, other):
        start = time.perf_counter()
        uses.check_artifact(origin, sets)
        best = min(best, time.perf_counter() - start)
    assert best < 0.05
