"""A mock engine whose planted direction can be fitted, and whose refusals the judge takes for coherent."""

from dataclasses import replace

from demur.engines.mock import REFUSAL, MockEngine, token


class Planted(MockEngine):
    """The mock, with two rules more.

    Only the word that opens refusals depends on the direction, so that ablating it leaves other prompts' first
    words alone; and a refusal is a likely text. The seed is not 0: random controls are drawn from small seeds.
    """

    def __init__(self, n_layers: int = 4, d_model: int = 16, seed: int = 107):
        super().__init__(n_layers, d_model, seed)
        axis = self.direction.vector
        self.head = self.head - (self.head @ axis)[:, None] * axis
        self.head[token("I'm")] = axis

    def logprobs(self, pairs, intervention=None):
        found = super().logprobs(pairs, intervention)
        return [replace(row, logprobs=(-1.0,) * len(row.logprobs)) if said == REFUSAL else row
                for row, (_, said) in zip(found, pairs, strict=True)]  # fmt: skip
