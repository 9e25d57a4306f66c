"""Arms, and two references that share no code with demur: transformers' generate, and a loop without cache.

An oracle is a list of (site, change), change(x [seq, d_model], positions [seq], prompt length) -> x.
The references apply it with hooks of their own, by absolute position.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch

from demur.interventions import ablate, add, at, chain, clamp, everywhere, multiply, patch, scale, splice
from demur.saes import load_sae, save_sae
from demur.types import Direction, Site, SteeringVector

AFTER_NORMS = ("post_attention_layernorm", "post_feedforward_layernorm")
ADDED = {
    **dict.fromkeys(("gemma2", "gemma3_text", "gemma3", "olmo2", "olmo3"), AFTER_NORMS),
    "glm4": ("post_self_attn_layernorm", "post_mlp_layernorm"),
    "llama4_text": ("self_attn", "feed_forward"),
    "falcon": ("self_attention", "mlp"),
    "gpt2": ("attn", "mlp"),
    "gpt_neox": ("attention", "mlp"),
}
"""The submodules whose outputs are added to the stream, where they are not self_attn and mlp."""
ORDER = ("pre", "attn_out", "mid", "mlp_out", "post")


def blocks(plain: Any) -> Any:
    base = plain.base_model
    for inner in ("language_model", "model"):
        base = getattr(base, inner, base)
    return base.h if hasattr(base, "h") else base.layers


def times(block: Any) -> float:
    """By what a block multiplies what it adds."""
    return getattr(block, "residual_multiplier", 1.0)


def _tensor(value: Any) -> torch.Tensor:
    return value[0] if isinstance(value, tuple) else value


@contextmanager
def placed(plain: Any, oracles, starts, pads):
    """Hooks on a transformers model: row i gets oracles[i]; its prompt ends at starts[i] after pads[i] columns."""
    handles: list[Any] = []
    columns: dict[Site, int] = {}
    attn, mlp = ADDED.get(plain.config.model_type, ("self_attn", "mlp"))

    def change(site: Site, x: torch.Tensor) -> torch.Tensor:
        start = columns.get(site, 0)
        columns[site] = start + x.shape[1]
        new = x.clone()
        for row, oracle in enumerate(oracles):
            positions = torch.arange(start, start + x.shape[1]) - pads[row]
            for where, op in oracle:
                if where == site:
                    new[row] = op(new[row], positions, starts[row])
        return new

    def on_input(site: Site):
        return lambda _, args, kwargs: ((change(site, args[0]), *args[1:]), kwargs)

    def on_output(site: Site):
        def hook(_, __, output):
            new = change(site, _tensor(output))
            return (new, *output[1:]) if isinstance(output, tuple) else new

        return hook

    def on_added(site: Site, block: Any):
        shapes = []
        handles.append(block.register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape)))

        def hook(_, __, output):
            out = _tensor(output)
            new = (change(site, out.view(shapes.pop()) * times(block)) / times(block)).view(out.shape)
            return (new, *output[1:]) if isinstance(output, tuple) else new

        return hook

    def on_mid(site: Site, block: Any):
        entered = []
        handles.append(block.register_forward_pre_hook(lambda _, args: entered.append(args[0])))

        def hook(_, __, output):
            before = entered.pop()
            new = (change(site, before + _tensor(output) * times(block)) - before) / times(block)
            return (new, *output[1:]) if isinstance(output, tuple) else new

        return hook

    sites = {site for oracle in oracles for site, _ in oracle}
    for site in sorted(sites, key=lambda site: (site.layer, ORDER.index(site.point))):
        block = blocks(plain)[site.layer]
        if site.point == "pre":
            handles.append(block.register_forward_pre_hook(on_input(site), with_kwargs=True))
        elif site.point == "post":
            handles.append(block.register_forward_hook(on_output(site)))
        elif site.point == "mid":
            handles.append(block.get_submodule(attn).register_forward_hook(on_mid(site, block)))
        else:
            part = block.get_submodule(attn if site.point == "attn_out" else mlp)
            handles.append(part.register_forward_hook(on_added(site, block)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _ended(tokens: list[int], ends) -> list[int]:
    for index, token in enumerate(tokens):
        if token in ends:
            return tokens[: index + 1]
    return tokens


@torch.no_grad()
def generated(plain: Any, rows, starts, oracles, new: int) -> list[list[int]]:
    """transformers' own greedy generate on ONE left-padded batch."""
    longest = max(len(row) for row in rows)
    pads = [longest - len(row) for row in rows]
    ids = torch.tensor([[0] * pad + list(row) for pad, row in zip(pads, rows, strict=True)])
    mask = torch.tensor([[0] * pad + [1] * len(row) for pad, row in zip(pads, rows, strict=True)])
    with placed(plain, oracles, starts, pads):
        out = plain.generate(input_ids=ids, attention_mask=mask, max_new_tokens=new, do_sample=False)
    return [_ended(row, plain.generation_config.eos_token_id) for row in out[:, longest:].tolist()]


@torch.no_grad()
def recomputed(plain: Any, row, start: int, oracle, new: int) -> list[int]:
    """Greedy, one row, the whole sequence anew at every step: no cache, no padding."""
    tokens = list(row)
    for _ in range(new):
        with placed(plain, [oracle], [start], [0]):
            logits = plain(input_ids=torch.tensor([tokens]), use_cache=False).logits
        tokens.append(int(logits[0, -1].argmax()))
        if tokens[-1] in plain.generation_config.eos_token_id:
            break
    return tokens[len(row) :]


WHERE = {
    "all": lambda p, n: p >= 0,
    "prompt": lambda p, n: (p >= 0) & (p < n),
    "generated": lambda p, n: p >= n,
    "from-last": lambda p, n: p >= n - 1,
    "after-first": lambda p, n: p > 0,
    "last": lambda p, n: p == n - 1,
    "last 3": lambda p, n: (p < n) & (p >= n - 3),
}


def only(where: str, op):
    return lambda x, p, n: torch.where(WHERE[where](p, n)[:, None], op(x, p, n), x)


@dataclass(frozen=True)
class Arm:
    intervention: Any
    oracle: list[Any]


def _vector(seed: int, width: int, size: float) -> torch.Tensor:
    x = torch.randn(width, generator=torch.Generator().manual_seed(seed))
    return x / x.norm() * size


def latents(sae: Any, x: torch.Tensor) -> torch.Tensor:
    """What an SAE's latents are, written down anew."""
    w = sae.weights
    before = (x - w["b_dec"]) @ w["W_enc"]
    if sae.kind == "gated":
        return (before * w["r_mag"].exp() + w["b_mag"]).clamp(min=0) * (before + w["b_gate"] > 0)
    before = before + w["b_enc"]
    least = {
        "relu": torch.zeros(()),
        "topk": before.topk(sae.k).values[..., -1:] if sae.k else None,
        "jumprelu": w.get("threshold"),
    }[sae.kind]
    return before.clamp(min=0) * ((before > least) | (before == least))


def changed(sae: Any, change: Any, keep: bool, x: torch.Tensor, *_: Any) -> torch.Tensor:
    f = latents(sae, x)
    new = change(f.clone())
    return x + (new - f) @ sae.weights["W_dec"] if keep else new @ sae.weights["W_dec"] + sae.weights["b_dec"]


def hold(index: list[int], values: Any):
    def change(f: torch.Tensor) -> torch.Tensor:
        f[..., index] = torch.tensor(values)
        return f

    return change


def by(index: list[int], factor: float):
    def change(f: torch.Tensor) -> torch.Tensor:
        f[..., index] *= factor
        return f

    return change


def patched(deltas: torch.Tensor, x: torch.Tensor, positions: torch.Tensor, _: int) -> torch.Tensor:
    new = x.clone()
    for row, position in enumerate(positions.tolist()):
        if 0 <= position < len(deltas):
            new[row] += deltas[position]
    return new


def on_latents(sae_of: Any, low: Site, high: Site, extra: Site) -> dict[str, Arm]:
    """Clamps of every kind of SAE, constant and by a factor, with the error and without; sae_of(kind, site)."""
    relu, jump = sae_of("relu", low), sae_of("jumprelu", high)
    top, gated = sae_of("topk", extra), sae_of("gated", low)
    some, many = [3, 40, 9], list(range(0, 64, 3))

    def of(sae: Any, change: Any, keep: bool = True):
        return (sae.site, partial(changed, sae, change, keep))

    return {
        "clamp": Arm(clamp(relu, some, [4.0, 0.0, 8.0]), [of(relu, hold(some, [4.0, 0.0, 8.0]))]),
        "clamp others": Arm(clamp(relu, [5, 9, 1], 6.0), [of(relu, hold([5, 9, 1], 6.0))]),
        "clamp nothing": Arm(chain(clamp(top, [], 3.0), multiply(jump, many, 1.0), patch({})), []),
        "multiply": Arm(multiply(jump, many, -2.0), [of(jump, by(many, -2.0))]),
        "clamp topk": Arm(
            chain(at("after-first", clamp(top, many, 3.0)), multiply(gated, many, -1.0)),
            [
                (extra, only("after-first", partial(changed, top, hold(many, 3.0), True))),
                of(gated, by(many, -1.0)),
            ],
        ),
        "clamp without the error": Arm(clamp(jump, some, 4.0, keep_error=False), [of(jump, hold(some, 4.0), False)]),
        "multiply without the error": Arm(
            at("from-last", multiply(top, many, 0.0, keep_error=False)),
            [(extra, only("from-last", partial(changed, top, by(many, 0.0), False)))],
        ),
        "splice": Arm(splice(relu), [of(relu, by([], 1.0), False)]),
    }


def patches(low: Site, high: Site, width: int) -> dict[str, Arm]:
    """Patches that end inside the prompt, and inside the answer."""
    long, short = (torch.stack([_vector(100 * n + i, width, 2.0) for i in range(n)]) for n in (44, 7))
    return {
        "patch": Arm(patch({low: long, high: short}), [(low, partial(patched, long)), (high, partial(patched, short))]),
        "short patch": Arm(
            patch({low: short, high: long}), [(low, partial(patched, short)), (high, partial(patched, long))]
        ),
        "patch at generated": Arm(
            at("generated", chain(patch({low: long}))), [(low, only("generated", partial(patched, long)))]
        ),
    }


def arms(loaded: Any, sae_of: Any) -> dict[str, Arm]:
    """Every intervention in every wrapper, on sites this model has; sae_of(kind, site): an SAE of this width."""
    d, last = loaded.d_model, loaded.n_layers - 1
    low, high = Site(1, "pre"), Site(last, "mlp_out")
    extra = Site(1, "mid" if "mid" in loaded.points else "attn_out")
    v, w, r = _vector(1, d, 2.0), _vector(2, d, 2.0), _vector(3, d, 1.0)
    steer, unit = SteeringVector({low: v, high: w}), Direction(r, extra, 5.0)
    everything = everywhere(loaded.n_layers)

    def plus(x):
        return lambda s, p, n: s + 1.5 * x

    def stretch(factor):
        return lambda s, p, n: s + (factor - 1) * (s @ r)[:, None] * r

    added = [(low, plus(v)), (high, plus(w))]
    found = {
        "unsteered": Arm(None, []),
        "empty chain": Arm(chain(), []),
        "dose 0": Arm(chain(add(steer, 0.0), ablate(unit, everything, 0.0), scale(unit, 1.0)), []),
        "add": Arm(add(steer, 1.5), added),
        "ablate": Arm(ablate(unit, everything), [(site, stretch(0.0)) for site in everything]),
        "ablate everywhere": Arm(ablate(unit), [(site, only("after-first", stretch(0.0))) for site in everything]),
        "scale": Arm(scale(unit, -1.5), [(extra, stretch(-1.5))]),
        "top layer": Arm(add(SteeringVector({Site(last, "post"): v}), 1.5), [(Site(last, "post"), plus(v))]),
        "chain": Arm(
            chain(at("prompt", add(steer, 1.5)), scale(unit, 3.0, [low, extra]), at("last", ablate(unit, [low]), 3)),
            [(site, only("prompt", op)) for site, op in added]
            + [(site, stretch(3.0)) for site in (low, extra)]
            + [(low, only("last 3", stretch(0.0)))],
        ),
        "nested": Arm(
            at("from-last", chain(at("prompt", add(steer, 1.5)), at("all", at("generated", scale(unit, -2.0))))),
            [(site, only("last", op)) for site, op in added] + [(extra, only("generated", stretch(-2.0)))],
        ),
    }
    for where in WHERE:
        name, _, k = where.partition(" ")
        inner = at(name, add(steer, 1.5), int(k or 1))
        found[f"add at {where}"] = Arm(inner, [(site, only(where, op)) for site, op in added])
    return found | on_latents(sae_of, low, high, extra) | patches(low, high, d)


@dataclass(frozen=True)
class World:
    """Requests over all arms of one model, and what transformers' generate answers."""

    tiny: Any
    requests: list[Any]
    expected: list[list[int]]


NEW = 10


@pytest.fixture(scope="session")
def references():
    """(generated, recomputed): the two references."""
    return generated, recomputed


@pytest.fixture(scope="session")
def arms_of(random_sae, tmp_path_factory):
    """arms_of(loaded) -> {name: Arm}."""
    folder = tmp_path_factory.mktemp("saes")

    def make(loaded: Any) -> dict[str, Arm]:
        def sae_of(kind: str, site: Site):
            path = folder / f"{kind} {loaded.d_model} {site}"
            return load_sae(path if path.is_dir() else save_sae(random_sae(kind, site, loaded.d_model, 64), path))

        return arms(loaded, sae_of)

    return make


@pytest.fixture(scope="session")
def world(tiny, talk, arms_of):
    """world(family) -> World, computed once."""
    from demur.engines.base import Request
    from demur.engines.rows import row_of

    known: dict[str, World] = {}

    def make(family: str) -> World:
        if family not in known:
            one = tiny(family)
            table = arms_of(one.loaded)
            system = "You are a helpful assistant."
            talks = [
                talk("What is the capital of France, and how warm is the sea there?", id="middle"),
                talk("How do I bake bread?", id="short"),
                talk("Write a short poem about the sea and the wind.", system, prefill="I'm sorry", id="long"),
            ]
            requests = [Request(c, arm.intervention, name) for c in talks for name, arm in table.items()]
            rows = [row_of(one.loaded, r.conversation) for r in requests]
            starts = [row.prompt_length for row in rows]
            oracles = [table[r.arm].oracle for r in requests]
            expected = generated(one.plain, [row.tokens for row in rows], starts, oracles, NEW)
            known[family] = World(one, requests, expected)
        return known[family]

    return make
