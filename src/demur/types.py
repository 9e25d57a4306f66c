"""The vocabulary: frozen values that every room shares. No behaviour beyond small conveniences.

Tensors appear only in annotations, so importing this module does not import torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from demur.errors import BadSpec

if TYPE_CHECKING:
    from torch import Tensor

Point = Literal["pre", "mid", "post", "attn_out", "mlp_out"]
POINTS: tuple[Point, ...] = ("pre", "mid", "post", "attn_out", "mlp_out")

Use = Literal["training", "fit", "validation", "test"]
USES: tuple[Use, ...] = ("training", "fit", "validation", "test")

Outcome = Literal["refused", "partial", "complied", "off-topic", "incoherent", "undecided"]
OUTCOMES: tuple[Outcome, ...] = ("refused", "partial", "complied", "off-topic", "incoherent", "undecided")
BROKEN: tuple[Outcome, ...] = ("off-topic", "incoherent")
"""Outcomes of answers that are no answers: never compliance (protocol: Outcomes)."""


@dataclass(frozen=True, order=True)
class Site:
    """A place in the residual stream: block `layer` (from 0) and a `point` in it.

    pre: the block's input; mid: after attention was added; post: the block's output;
    attn_out, mlp_out: what attention and MLP write into the stream.
    """

    layer: int
    point: Point = "pre"

    def __str__(self) -> str:
        return f"{self.layer}.{self.point}"

    @classmethod
    def parse(cls, text: str) -> Site:
        """`12.pre` -> Site(12, "pre"). ValueError for anything else."""
        layer, _, point = text.partition(".")
        if not re.fullmatch("[0-9]{1,6}", layer) or point not in POINTS:
            raise ValueError(f"{text!r} is no site; write LAYER.POINT, as 12.pre ({', '.join(POINTS)})")
        return cls(int(layer), point)


@dataclass(frozen=True)
class Prompt:
    """One request, as a user would type it."""

    id: str
    text: str
    set: str
    """Name of the prompt set it came from."""
    kind: Literal["harmful", "borderline", "plain", "unknown"] = "unknown"
    """harmful: should be refused. borderline: alarming but fine. plain: everyday."""
    category: str = ""
    topic: str = ""
    use: Use | None = None
    """Which of the protocol's four uses the prompt is reserved for, if any."""
    match: str = ""
    """For a borderline prompt: the id of the harmful prompt it mirrors."""
    columns: tuple[tuple[str, str | int | float | bool | None], ...] = ()
    """What else its row in the user's file says, name and cell; it decides nothing, and comes back in exports."""

    def cell(self, name: str) -> str | None:
        """The row's cell in a column as text, whatever the name's case; else the prompt's own field of that name (kind,
        category, topic, set, use). "" for an empty cell, None where there is no such column."""
        for column, value in self.columns:
            if column.casefold() == name.casefold():
                return "" if value is None else str(value)
        own = {
            "kind": self.kind,
            "category": self.category,
            "topic": self.topic,
            "set": self.set,
            "use": self.use or "",
        }
        return own.get(name.casefold())


@dataclass(frozen=True)
class Item:
    """One multiple-choice item, scored by the log-likelihood of each choice after `query`.

    An item with a single choice (LAMBADA) counts as right when greedy decoding gives it.
    """

    id: str
    query: str
    choices: tuple[str, ...]
    gold: int
    set: str
    use: Use | None = None


@dataclass(frozen=True)
class Pair:
    """A contrast pair: one question, an answer that shows a behaviour and one that does not, in full text."""

    id: str
    question: str
    """Without choices."""
    matching: str
    other: str
    letter: str = "A"
    """The matching answer's, when the two are offered as choices; the other's is `other_letter`."""
    other_letter: str = "B"
    asked: str = ""
    """The question with its choices, where a file has it."""
    topic: str = ""
    use: Use | None = None

    @property
    def lettered(self) -> str:
        """The question with its choices."""
        if self.asked:
            return self.asked
        choices = sorted([(self.letter, self.matching), (self.other_letter, self.other)])
        return f"{self.question}\n\nChoices:\n" + "\n".join(f" ({letter}) {text}" for letter, text in choices)


@dataclass(frozen=True)
class Message:
    """One turn. `content=None` for an assistant turn means: the engine plays it."""

    role: Literal["system", "user", "assistant"]
    content: str | None


@dataclass(frozen=True)
class Conversation:
    """What is sent to the model: an attack applied to a prompt (or the plain prompt)."""

    prompt: Prompt
    messages: tuple[Message, ...]
    prefill: str = ""
    """Text the answer is made to begin with; counted as generated, judged without it."""
    attack: str = "direct"


@dataclass(frozen=True)
class Direction:
    """A unit vector at a site."""

    vector: Tensor
    """Float[Tensor, "d_model"], float32, Euclidean norm 1."""
    site: Site
    norm: float
    """Median activation norm at the site on the built-in plain set, first token left out."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """Everything that made it: method, position, prompts, hashes, scores, code version."""

    def __repr__(self) -> str:
        width = len(self.vector)
        return f"Direction({self.site}, width {width}, activation norm {self.norm:.4g}{_made_by(self.origin)})"


@dataclass(frozen=True)
class SteeringVector:
    """An unnormalised vector at one or more sites; dose d adds d times it."""

    vectors: Mapping[Site, Tensor]
    """Site -> Float[Tensor, "d_model"], float32."""
    norms: Mapping[Site, float] = field(default_factory=dict)
    """Site -> median activation norm there, as `Direction.norm`; may lack sites."""
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        sites = [f"{site} of length {float(value.norm()):.4g}" for site, value in self.vectors.items()]
        width = next((len(value) for value in self.vectors.values()), 0)
        return f"SteeringVector({_few(sites)}, width {width}{_made_by(self.origin)})"


@dataclass(frozen=True)
class Subspace:
    """Orthonormal rows at a site."""

    basis: Tensor
    """Float[Tensor, "k d_model"], float32, rows orthonormal."""
    site: Site
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        k, width = self.basis.shape
        return f"Subspace({self.site}, {k} directions of width {width}{_made_by(self.origin)})"


@dataclass(frozen=True)
class Feature:
    """One SAE latent."""

    site: Site
    index: int
    score: float = 0.0


@dataclass(frozen=True)
class FeatureSet:
    """Latents at one or several sites, with the hash of each site's SAE."""

    features: tuple[Feature, ...]
    saes: Mapping[Site, str] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"FeatureSet({_few(f'{f.site}/{f.index}' for f in self.features)}{_made_by(self.origin)})"


def _few(names: Iterable[str]) -> str:
    """The first four, and how many more."""
    listed = list(names)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")


def _made_by(origin: Mapping[str, Any]) -> str:
    """What an artifact's one line says of where it is from."""
    said = [str(origin[name]) for name in ("file", "method", "behaviour", "model") if origin.get(name)]
    return f"; {', '.join(said)}" if said else ""


@dataclass(frozen=True)
class EngineFingerprint:
    """What decides the numbers an engine gives. A file that was fitted on a model knows it by `weights` alone."""

    engine: str
    weights: str
    """Hash of weights, config and generation config."""
    tokenizer: str
    """Hash of the tokenizer and its special tokens."""
    template: str
    """Hash of the chat template and what it is given (special tokens, thinking on or off)."""
    dtype: str
    device: str = ""
    """The processor, as "cpu AVX512"."""
    software: str = ""
    """Versions of the libraries that compute, and a hash of the model's modules."""
    slots: int = 0
    """Rows that decode together, where numbers depend on it (bf16); 0 where each row stands alone."""


@dataclass(frozen=True)
class Decoding:
    """How tokens are chosen. temperature 0 is greedy. BadSpec for a temperature or top_p that means nothing."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    """Go on to max_new_tokens whatever comes (for benchmarks)."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise BadSpec(f"temperature is {self.temperature}; give 0 (greedy) or a positive number.")
        if not 0 <= self.top_p <= 1:
            raise BadSpec(f"top_p is {self.top_p}; give a number from 0 to 1.")


@dataclass(frozen=True)
class Generation:
    """One answer. `text` leaves out the prefill, special tokens and reasoning."""

    key: str
    """Hash of everything that decides it (protocol: Numerics and keys); "" when not journalled."""
    conversation: Conversation
    """With the turns that the engine played filled in."""
    text: str
    tokens: tuple[int, ...]
    """New token ids, without the prefill, with the end token if it was produced."""
    prompt_tokens: int
    finish: Literal["end", "length", "stop"]
    arm: str = "unsteered"
    reasoning: str = ""
    """What the model wrote in a reasoning block (`engines/reasoning.py`); with no text behind it the block never
    closed."""


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one generation."""

    generation: str
    """The generation's key."""
    judge: str
    outcome: Outcome
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """One answer and its verdict."""

    generation: Generation
    verdict: Verdict


Table = Mapping[tuple[str, str], Sequence[Judged]]
"""(arm, set) -> judged answers, in the order of the set."""


def arm_name(name: str, multiplier: float) -> str:
    """The arm of a steering vector at a multiplier: `sycophancy x-1.5`."""
    return f"{name} x{multiplier:+g}"


@dataclass(frozen=True)
class Figure:
    """One row of `results.json` (protocol: Results)."""

    arm: str
    versus: str
    """The arm it is compared with; "" for a rate of its own."""
    set: str
    metric: str
    value: float
    n: int
    denominator: str
    """What n counts, in words."""
    low: float
    high: float
    judge: str = ""

    def row(self) -> dict[str, Any]:
        """The figure as a JSON-ready dict."""
        return asdict(self)
