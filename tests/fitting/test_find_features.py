"""Ways of finding features, on the mock and an SAE of which one latent is the planted direction."""

from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from tests.planted import Planted

from demur.errors import BadSpec, InputError, UnknownName
from demur.fitting.doses import norms_of
from demur.fitting.find_features import FindConfig, find_features, pick, saes_for
from demur.fitting.finders import METHODS
from demur.prompts.sets import PromptSets, builtin_sets
from demur.saes import SAE, load_sae, save_sae
from demur.types import Feature, Site

SITE = Site(1, "post")
MINE = PromptSets("mine", tuple(replace(p, id=f"mine {p.id}") for p in builtin_sets().prompts[::3]))


class Watching(Planted):
    """Notes whose streams, gradients, answers and likelihoods are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set = set()

    def _note(self, conversations):
        self.seen |= {c.prompt for c in conversations}

    def activations(self, conversations, sites, tail=None, intervention=None):
        self._note(conversations)
        return super().activations(conversations, sites, tail, intervention)

    def gradients(self, conversations, sites, metric, streams=None):
        self._note(conversations)
        return super().gradients(conversations, sites, metric, streams)

    def generate(self, requests, decoding):
        self._note([r.conversation for r in requests])
        return super().generate(requests, decoding)


@pytest.fixture(scope="module")
def saes(tmp_path_factory) -> dict[Site, SAE]:
    axis = Planted().direction.vector
    across = torch.nn.functional.normalize(torch.randn(23, 16, generator=torch.Generator().manual_seed(2)), dim=-1)
    across = across - (across @ axis)[:, None] * axis
    rows = torch.cat([across[:5], 2 * axis[None], across[5:]])
    weights = {"W_enc": (rows / 2).T.contiguous(), "W_dec": rows, "b_enc": torch.zeros(24), "b_dec": torch.zeros(16)}
    return {SITE: load_sae(save_sae(SAE("relu", weights, SITE), tmp_path_factory.mktemp("sae")))}


@pytest.mark.parametrize("method", ["contrast", "cosine"])
def test_the_planted_latent_is_found_and_the_set_says_how_and_how_long_the_streams_are(saes, method):
    engine = Planted()
    toward = engine.direction if method == "cosine" else None
    config = FindConfig(k=3, n=None if method == "cosine" else 12)
    found = find_features(engine, saes, method, config, toward)
    assert found.features[0].index == 5 and found.features[0].site == SITE
    assert found.origin["method"]
    assert found.origin["norms"] == norms_of(engine, found)
    assert found.saes == {SITE: saes[SITE].sha256}


@pytest.mark.parametrize("method", METHODS)
def test_on_a_users_own_prompts_no_test_prompt_is_looked_at(saes, method):
    engine = Watching()
    toward = engine.direction if method in ("attribution", "cosine") else None
    # The mock's stream leans otherwise in an answer, so that two of the ways have nothing to give in the end.
    with suppress(InputError):
        find_features(engine, saes, method, FindConfig(k=1), toward, MINE)
    uses = {prompt.use for prompt in engine.seen}
    assert uses <= ({"fit", "validation"} if method == "one-prompt" else {"fit"})
    # Beside the user's own: plain fitting prompts for the streams' norms, and what the judge is calibrated on.
    others = {p for p in engine.seen if p not in MINE.prompts}
    assert {(p.kind, p.use) for p in others} <= {
        ("plain", "fit"),
        ("plain", "validation"),
        ("borderline", "validation"),
    }


def test_a_setting_that_a_method_does_not_read_is_refused(saes):
    engine = Planted()
    with pytest.raises(InputError, match=r"--per-site says nothing to contrast; it reads n and k"):
        find_features(engine, saes, "contrast", FindConfig(per_site=3))
    with pytest.raises(InputError, match=r"--direction says nothing to one-prompt"):
        find_features(engine, saes, "one-prompt", direction=engine.direction)
    with pytest.raises(UnknownName, match="Did you mean 'cosine'"):
        find_features(engine, saes, "cosin")
    assert not any(engine.calls.values())


def test_named_latents_are_picked_once_each_and_only_those_that_are_there(saes):
    engine = Planted()
    found = pick(engine, saes, ["1.post/5", "1.post/0", "1.post/5"])
    assert found.features == (Feature(SITE, 5), Feature(SITE, 0))
    for name, said in (("1.post", "is no latent; write SITE/INDEX"), ("1.post/24", "has latents 0 to 23")):
        with pytest.raises(BadSpec, match=said):
            pick(engine, saes, [name])
    with pytest.raises(UnknownName, match=r"no site with an SAE named '2.post'; known: 1.post"):
        pick(engine, saes, ["2.post/5"])


def test_a_model_without_bundled_saes_needs_one_and_a_site_takes_one(saes):
    engine = Planted()
    with pytest.raises(InputError, match="demur ships no SAE of mock; name one with --sae, or train it"):
        saes_for(engine)
    source = str(saes[SITE].source)
    assert saes_for(engine, [source], other_model=True)[SITE].sha256 == saes[SITE].sha256
    with pytest.raises(InputError, match=r"both stand at 1.post; give one SAE a site"):
        saes_for(engine, [source, source], other_model=True)
