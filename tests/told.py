"""An evaluator that is told what each intervention does, and notes which requests it was asked about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.hashed import Hashed, rows

from demur.engines.base import Engine
from demur.evaluation.cached import spec_of
from demur.evaluation.evaluator import Arm, Evaluator
from demur.interventions import Intervention
from demur.runs import digest
from demur.types import Conversation, Decoding, Prompt, Table


@dataclass
class Told(Evaluator):
    """Outcomes (letters of `tests.hashed`) by what an arm does to the model, whatever it is called."""

    does: Mapping[str, str] = field(default_factory=dict)
    asked: list[Prompt] = field(default_factory=list)

    def run(self, arms: Sequence[Arm], sets: Mapping[str, Sequence[Conversation]]) -> Table:
        self.asked += [talk.prompt for some in sets.values() for talk in some]
        return {(arm.name, name): rows(self.does[self._what(arm.intervention)]) for name in sets for arm in arms}

    def _what(self, intervention: Intervention | None) -> str:
        return digest(spec_of(intervention, self.engine.n_layers))


def told(engine: Engine, unsteered: str, *does: tuple[Intervention, str]) -> Told:
    """An evaluator that knows the unsteered outcomes, and those under each intervention."""
    made = Told(engine, Hashed(), Decoding(4))
    made.does = {made._what(how): outcomes for how, outcomes in [(None, unsteered), *does]}
    return made
