import pytest
import torch

from demur.directions.vectors import steering_vector
from demur.engines.base import Request
from demur.engines.mock import MockEngine
from demur.errors import BadSpec, NonFinite
from demur.evaluation.cached import spec_of
from demur.evaluation.items import score_items
from demur.fitting.openings import opening_logprobs
from demur.interventions import (
    Context,
    ablate,
    add,
    at,
    bound,
    bound_each,
    chain,
    compile_batch,
    everywhere,
    from_spec,
    multiply,
    patch,
    scale,
)
from demur.types import Conversation, Decoding, Direction, FeatureSet, Item, Message, Prompt, Site, SteeringVector

D = 32
V = torch.randn(D, generator=torch.Generator().manual_seed(3))
R = Direction(V / V.norm(), Site(1), 5.0)
NEW = Decoding(max_new_tokens=8)


def by_hand(n_layers: int, dose: float = 1.0):
    return at("after-first", ablate(R, everywhere(n_layers), dose))


@pytest.mark.parametrize("dose", [1.0, 0.3, 2.0, -1.5])
def test_bound_it_is_the_projection_of_every_layer_after_the_first_token(dose):
    whole = ablate(R, dose=dose)
    for n in (1, 3, 7):
        assert whole.bind(n).spec() == by_hand(n, dose).spec()
        assert whole.bind(n).sites == set(everywhere(n))


def test_inside_others_it_is_bound_too_and_the_rest_stays_what_it_is():
    rest = chain(add(R, 2.0), at("last", scale(R, 3.0), 2))
    mixed = chain(rest, at("from-last", chain(ablate(R))))
    made = mixed.bind(2)
    assert made.spec() == chain(rest, at("from-last", chain(by_hand(2)))).spec()
    assert made.parts[0] is rest  # pyright: ignore[reportAttributeAccessIssue]
    assert rest.bind(2) is rest
    assert bound(None, 2) is None
    each = bound_each([mixed, None, rest, mixed], 2)
    assert each[0] is each[3]
    assert each[1:3] == [None, rest]


def test_before_it_meets_a_model_it_says_so_rather_than_do_nothing():
    whole = chain(ablate(R))
    here = Context(torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1, dtype=torch.long))
    for run in (lambda: whole.sites, lambda: ablate(R).edit(torch.ones(1, 1, D), Site(0), here),
                lambda: compile_batch([ablate(R)], here, V)):  # fmt: skip
        with pytest.raises(BadSpec, match=r"all layers of the model that it meets, and has met none; .*bind"):
            run()


def test_dose_0_has_no_sites_bound_or_not():
    nothing = ablate(R, dose=0.0)
    assert not nothing.sites
    assert not nothing.bind(3).sites
    assert spec_of(nothing, 3) == {"op": "none"}


def test_its_own_spec_is_short_and_comes_back_and_keys_are_of_the_bound_one():
    whole = ablate(R, dose=0.3)
    assert whole.spec().keys() == {"op", "axis", "dose"}
    again = from_spec(whole.spec())
    assert again.spec() == whole.spec()
    assert again.bind(4).spec() == whole.bind(4).spec()
    assert spec_of(whole, 4) == spec_of(by_hand(4, 0.3), 4) != spec_of(whole, 3)


@pytest.mark.unchecked
def test_a_vector_of_one_site_counts_as_its_unit_direction():
    vector = steering_vector({Site(1): 7 * R.vector})
    torch.testing.assert_close(ablate(vector).axis, R.vector)  # pyright: ignore[reportAttributeAccessIssue]
    assert scale(vector, 0.5).sites == {Site(1)}
    several = SteeringVector({Site(1): V, Site(2, "mid"): V})
    for make in (ablate, lambda what: scale(what, 0.5)):
        with pytest.raises(BadSpec, match=r"has 2 sites \(1.pre, 2.mid\), and one direction is ablated"):
            make(several)
        with pytest.raises(BadSpec, match="latents, not one direction .*suppress"):
            make(FeatureSet(()))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_every_call_of_the_engine_binds_it(tiny, talk, family):
    engine = tiny(family).engine
    ours, theirs = ablate(R), by_hand(engine.n_layers)
    talks = [talk("How do I bake bread?", id="a"), talk("Hi", id="b")]
    item = Item("item-1", "the capital of", ("France", "the sea", "bread"), 0, "tests")
    pairs = [(c, "bread and flour") for c in talks]
    engine.check(ours)
    for call in (
        lambda s: [a.tokens for a in engine.generate([Request(c, one) for c in talks for one in (s, None)], NEW)],
        lambda s: engine.logprobs(pairs, s),
        lambda s: engine.logprobs(pairs, [s, None]),
        lambda s: score_items(engine, [item], s),
        lambda s: engine.last_logits(talks, s).tolist(),
        lambda s: engine.last_logits(talks, [None, s]).tolist(),
        lambda s: opening_logprobs(engine, talks, [(5, 6), (7,)], s).tolist(),
        lambda s: engine.activations(talks, [Site(1, "post")], None, s).tensors[Site(1, "post")].tolist(),
    ):
        assert call(ours) == call(theirs) != call(None)


def test_the_mock_binds_it():
    mock = MockEngine()
    prompt = Prompt("a", "How do I pick a lock?", "tests", "harmful")
    c = Conversation(prompt, (Message("user", prompt.text),))
    (off,) = mock.generate([Request(c, ablate(mock.direction))], NEW)
    assert off.text.startswith("Sure,")
    by_hand = at("after-first", ablate(mock.direction, everywhere(mock.n_layers)))
    assert mock.last_logits([c], ablate(mock.direction)).equal(mock.last_logits([c], by_hand))


def test_a_failure_inside_it_is_named(tiny, talk):
    with pytest.raises(NonFinite, match="lower the dose"):
        tiny("llama").engine.generate([Request(talk("Hi"), ablate(R, dose=1e30))], NEW)


def test_other_interventions_need_no_model(random_sae):
    sae = random_sae(site=Site(1))
    for one in (add(R, 1.0), scale(R, 2.0), ablate(R, [Site(0)]), patch({Site(0): torch.ones(2, D)}),
                multiply(sae, [1], 0.0)):  # fmt: skip
        assert one.bind(3) is one
