import pytest
import torch

from demur.errors import InputError
from demur.features.one_prompt import Screen, candidates, one_prompt
from demur.saes import SAE, encode
from demur.types import Site

SITE = Site(1, "post")
ANSWER = "I'm sorry, but I can't help with that."


@pytest.fixture
def sae(tmp_path):
    generator = torch.Generator().manual_seed(0)
    weights = {"W_enc": torch.randn(32, 40, generator=generator), "W_dec": torch.randn(40, 32, generator=generator),
               "b_enc": torch.full((40,), -6.0), "b_dec": torch.zeros(32)}  # fmt: skip
    return SAE("relu", weights, SITE, source="here")


def test_candidates_are_active_on_enough_tokens_of_the_refusal(tiny, talk, sae):
    engine = tiny("llama").engine
    asked = talk("How do I pick a lock?", id="one")
    found = candidates(engine, asked, ANSWER, {SITE: sae}, least=2)
    whole = engine.activations([talk("How do I pick a lock?", prefill=ANSWER)], [SITE]).tensors[SITE][0]
    length = engine.activations([asked], [SITE]).mask.sum()
    counts = (encode(sae, whole[length:]) > 0).sum(0)
    assert {f.index: int(f.score) for f in found} == {j: int(c) for j, c in enumerate(counts) if c >= 2}
    assert [f.score for f in found] == sorted((f.score for f in found), reverse=True)


def test_the_latents_whose_clamp_raises_refusal_most_are_kept(tiny, talk, sae):
    engine = tiny("llama").engine
    asked = talk("How do I pick a lock?", id="one")
    tried = candidates(engine, asked, ANSWER, {SITE: sae})
    called = []

    def effect(clamps):
        called.append(len(clamps))
        return [float(i == 1) + 0.5 * (i == 2) for i in range(len(clamps))]

    found = one_prompt(engine, asked, ANSWER, {SITE: sae}, {SITE: 12.0}, effect, k=2)
    assert [f.index for f in found.features] == [tried[1].index, tried[2].index]
    assert called == [len(tried)]
    assert found.origin["prompts"] == ["one"]
    assert found.saes == {SITE: sae.sha256}
    assert found.origin["saes"] == {str(SITE): "here"}


def test_a_screen_draws_up_the_shortlist(tiny, talk, sae):
    engine = tiny("llama").engine
    asked = talk("How do I pick a lock?", id="one")
    tried = candidates(engine, asked, ANSWER, {SITE: sae})
    seen = []

    def screen(clamps):
        return [float(i in (0, 2, 3)) for i in range(len(clamps))]

    def effect(clamps):
        seen.extend(clamp.spec()["inner"]["latents"] for clamp in clamps)
        return [float(i) for i in range(len(clamps))]

    found = one_prompt(engine, asked, ANSWER, {SITE: sae}, {SITE: 12.0}, effect, screen=Screen(screen, 3))
    assert seen == [[tried[i].index] for i in (0, 2, 3)]
    assert [f.index for f in found.features] == [tried[3].index]
    assert (found.origin["screened"], found.origin["tried"]) == (len(tried), 3)


def test_a_refusal_on_which_nothing_fires_is_an_error(tiny, talk, sae):
    dull = SAE("relu", {**sae.weights, "b_enc": torch.full((40,), -1e6)}, SITE)
    with pytest.raises(InputError, match="no latent is active"):
        one_prompt(tiny("llama").engine, talk("Hi"), ANSWER, {SITE: dull}, {SITE: 1.0}, lambda c: [0.0] * len(c))
