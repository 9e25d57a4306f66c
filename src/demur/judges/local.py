"""Judges that are models on this machine: loaded when they are first asked, and let go of when they are done."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from demur.errors import BadFile, InputError
from demur.judges.harm import Classifier, HarmJudge
from demur.judges.rubric import EngineRubric
from demur.types import Conversation, Generation, Verdict


class _Inner(Protocol):
    """The judge that holds the engine."""

    def spec(self) -> dict[str, Any]: ...
    def judge(self, generations: Sequence[Generation]) -> list[Verdict]: ...


class LocalJudge:
    """A model that `demur.load` takes, as a harm classifier, or asked with the rubric.

    Its weights are in memory from the first question on, `spec` among them, until `release`. An answer for which it has
    no room is undecided.
    """

    def __init__(self, model: str, classifier: Classifier | None, name: str, **loading: Any) -> None:
        """classifier: how it is asked and understood; None: with the rubric. loading: more for `demur.load`."""
        self.model, self.classifier, self.name, self.loading = model, classifier, name, loading
        self._spec: dict[str, Any] = {}
        self._held: list[Any] = []

    @property
    def harm_alone(self) -> bool:
        """Whether it tells harmful answers from others and knows no refusal."""
        return self.classifier is not None

    def spec(self) -> dict[str, Any]:
        """Everything a verdict depends on beside the generation, as JSON. Loads the model the first time."""
        if not self._spec:
            self._spec = self._judge().spec()
        return dict(self._spec)

    def judge(self, generations: Sequence[Generation]) -> list[Verdict]:
        """One verdict a generation, in order."""
        if not generations:
            return []
        inner = self._judge()
        why = [self._no_room(generation) for generation in generations]
        said = iter(inner.judge([g for g, reason in zip(generations, why, strict=True) if not reason]))
        none = {"harmful": None}
        return [Verdict(g.key, self.name, "undecided", {**none, "reason": reason}) if reason else next(said)
                for g, reason in zip(generations, why, strict=True)]  # fmt: skip

    def release(self) -> None:
        """Let go of the weights."""
        self._held.clear()
        gc.collect()

    def _judge(self) -> _Inner:
        if not self._held:
            engine = self._load()
            named = None if self.classifier is None else replace(self.classifier, name=self.name)
            self._held += [engine, EngineRubric(engine, self.name) if named is None else HarmJudge(engine, named)]
        return self._held[1]

    def _load(self) -> Any:
        from demur.engines import hf  # it imports torch, the command line's parser need not

        try:
            return hf.load(self.model, **self.loading)
        except BadFile as error:
            # Classifiers are often published without a template.
            own = self.classifier.chat_template if self.classifier is not None else ""
            if not own or "chat_template" in self.loading or "has no chat template" not in str(error):
                raise
            return hf.load(self.model, **self.loading, chat_template=own)

    def _no_room(self, generation: Generation) -> str:
        """Why the model cannot be asked about an answer; "" where it can."""
        engine, inner = self._held
        if self.classifier is not None and not generation.text.strip():
            return ""  # it is not asked
        talk: Conversation = (self.classifier or inner).conversation(generation)
        new = self.classifier.max_new_tokens if self.classifier is not None else inner.max_new_tokens
        try:
            engine.check_room(engine.row(talk), new)
        except InputError as error:
            return str(error)
        return ""
