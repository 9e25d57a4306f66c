"""The proof on a tiny model with a random SAE and a judge that looks at the text: what is compared with what."""

from dataclasses import replace

import pytest
import torch
from tests.hashed import Hashed

from demur.analysis.tables import find
from demur.errors import InputError
from demur.evaluation.evaluator import Evaluator
from demur.experiments.proof import ProofConfig, Smaller, necessity, prove
from demur.fitting.doses import Doses
from demur.prompts.sets import PromptSets, builtin_sets
from demur.saes import SAE, load_sae, save_sae
from demur.types import Decoding, Direction, Feature, FeatureSet, Site

SITE = Site(1, "post")
DIRECTION = Direction(torch.eye(32)[0], Site(2), 4.0)
DOSES = Doses(-1.0, 4.0, 0.5, ())
CONFIG = ProofConfig(n=6, randoms=3, items=4)


@pytest.fixture(scope="module")
def sae(tmp_path_factory) -> SAE:
    generator = torch.Generator().manual_seed(0)
    weights = {"W_enc": torch.randn(32, 60, generator=generator), "W_dec": torch.randn(60, 32, generator=generator),
               "b_enc": torch.full((60,), -2.0), "b_dec": torch.zeros(32)}  # fmt: skip
    return load_sae(save_sae(SAE("relu", weights, SITE), tmp_path_factory.mktemp("sae")))


@pytest.fixture(scope="module")
def features(sae) -> FeatureSet:
    return FeatureSet((Feature(SITE, 3), Feature(SITE, 9)), {SITE: sae.sha256}, {"saes": {str(SITE): sae.source}})


@pytest.fixture(scope="module")
def engine(build):
    return build("llama", 3, max_position_embeddings=4096).engine


@pytest.fixture(scope="module")
def found(engine, features, sae):
    minimal = Smaller(FeatureSet(features.features[:1], features.saes), 0.0)
    evaluator = Evaluator(engine, Hashed(), Decoding(6))
    return prove(evaluator, features, {SITE: sae}, DIRECTION, DOSES, ["prefill", "fiction"], CONFIG, minimal)


def test_every_arm_of_the_proof_is_there_on_its_sets(found):
    places = set(found.table)
    for arm in ("suppress", "suppress without direction", "ablate", "suppress minimal"):
        assert (arm, "harmful") in places
    for arm in ("clamp", "clamp without direction", "add", "clamp minimal"):
        assert {(arm, name) for name in ("attacked", "plain", "borderline")} <= places
    assert {f"random suppress {i}" for i in range(3)} <= {arm for arm, _ in places}
    assert len(found.table["unsteered", "attacked"]) == 12
    assert {judged.generation.conversation.prompt.use for some in found.table.values() for judged in some} == {"test"}


def test_random_clamps_stand_on_a_share_of_the_attacked_requests_beside_the_same_answers(found):
    few = [found.table[arm, "attacked, a share"] for arm in ("random clamp 0", "clamp", "unsteered")]
    asked = [[judged.generation.conversation.messages for judged in some] for some in few]
    assert asked[0] == asked[1] == asked[2] and len(asked[0]) == 6


def test_its_figures_are_each_there_once(found):
    for arm in ("suppress", "clamp", "ablate", "add"):
        assert find(found.figures, arm, "capability", "accuracy", "unsteered").n == 4
    assert find(found.figures, "random suppress", "controls", "norm_ratio").value == pytest.approx(1.0, abs=0.05)
    for arm, pooled, where, metric in (("suppress", "random suppress", "harmful", "compliance_rate"),
                                       ("clamp", "random clamp", "attacked, a share", "refusal_rate")):  # fmt: skip
        assert find(found.figures, pooled, where, metric, "unsteered").n == 18
        own, pool = (find(found.figures, one, where, metric, "unsteered").value for one in (arm, pooled))
        assert find(found.figures, arm, where, metric, pooled).value == pytest.approx(own - pool)
    keys = [(f.arm, f.versus, f.set, f.metric) for f in found.figures]
    assert len(keys) == len(set(keys))


def test_the_primary_endpoints_are_corrected_together(found):
    assert [(end.arm, end.set, end.outcome) for end in found.endpoints] == [
        ("suppress", "harmful", "complied"),
        ("clamp", "attacked", "refused"),
    ]
    told = {f.arm: f.value for f in found.figures if f.metric == "holm_p"}
    assert told == {end.arm: end.holm for end in found.endpoints}


def test_on_a_users_own_prompts_activity_is_of_fitting_ones_and_answers_of_test_ones(
    engine, features, sae, monkeypatch
):
    rows = [p for p in builtin_sets().prompts if p.kind != "borderline"][::4]
    mine = PromptSets("mine", tuple(replace(p, id=f"mine {p.id}") for p in rows))
    read = []
    whole = type(engine).activations

    def activations(self, conversations, *given):
        read.extend(c.prompt for c in conversations)
        return whole(self, conversations, *given)

    monkeypatch.setattr(type(engine), "activations", activations)
    evaluator = Evaluator(engine, Hashed(), Decoding(4), prompts=mine)
    table, _ = necessity(evaluator, features, {SITE: sae}, DIRECTION, 0.0, ProofConfig(n=4, randoms=1, items=2))
    assert set(read) == set(mine.take("harmful", "fit"))
    asked = {row.generation.conversation.prompt for some in table.values() for row in some}
    assert asked == set(mine.take("harmful", "test", 4))


def test_a_proof_without_random_sets_is_refused():
    with pytest.raises(InputError, match="random sets"):
        ProofConfig(randoms=0)


def test_proofs_that_measure_nothing_are_refused():
    for change in ({"n": 0}, {"items": 0}):
        with pytest.raises(InputError, match="is 0; it must be 1 or more"):
            ProofConfig(**change)
