import zlib

import pytest
from tests.planted import Planted

from demur.errors import InputError
from demur.evaluation.evaluator import Evaluator
from demur.fitting.attack_ranking import QUICK_FAMILIES, families_to_try, rank_attacks


class Weak(Planted):
    """Resists some attacks, and makes nothing of others."""

    def __init__(self, resists: dict[str, float], lost: tuple[str, ...] = ()):
        super().__init__()
        self.resists, self.lost, self.uses = resists, lost, set()

    def decide(self, c, steer):
        self.uses.add(c.prompt.use)
        share = self.resists.get(c.attack, 0.0)
        if c.prompt.kind == "harmful" and zlib.crc32(c.prompt.id.encode()) % 100 < 100 * share:
            return "refuse"
        return super().decide(c, steer)

    def _answer(self, c, steer):
        return (
            ["Gur", "dhvpx", "oebja", "sbk", "whzcf", "bire", "gur", "ynml", "qbt"]
            if c.attack in self.lost
            else super()._answer(c, steer)
        )


def test_all_families_are_tried_but_plain_and_replay_unless_they_are_named():
    assert {"persona", "rot13", "escalation"} < set(families_to_try())
    assert not {"direct", "replay"} & set(families_to_try())
    assert families_to_try(("persona",)) == ("persona",)
    assert set(QUICK_FAMILIES) < set(families_to_try())


def test_attacks_are_ranked_by_compliance_among_the_families_that_leave_requests_answerable(judge, decoding):
    engine = Weak({"persona": 1.0, "fiction": 0.5}, lost=("base64",))
    tried = ("persona", "base64", "fiction", "authority", "prefill")
    found = rank_attacks(Evaluator(engine, judge, decoding), 8, tried)
    assert found.best == ("authority", "prefill", "fiction")
    assert found.compliance["authority"] > found.compliance["fiction"] > found.compliance["persona"] == 0
    assert found.on_topic["base64"] == 0
    assert min(found.on_topic[name] for name in tried if name != "base64") >= 0.5
    assert engine.calls["generate"] == 2
    assert (engine.answered, engine.uses) == (2 * 8 * len(tried), {"validation"})


def test_a_model_that_makes_nothing_of_any_attack_is_refused_with_the_shares(judge, decoding):
    evaluator = Evaluator(Weak({}, ("rot13", "base64")), judge, decoding)
    with pytest.raises(InputError, match=r"no attack family leaves .* \(shares: {'rot13': 0.0, 'base64': 0.0}\)"):
        rank_attacks(evaluator, 4, ("rot13", "base64"))
