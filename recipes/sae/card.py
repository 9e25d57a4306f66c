"""The card that ships beside the SAEs."""

from __future__ import annotations

from collections.abc import Sequence

from demur.sae_training.quality import Card
from demur.sae_training.train import Training

TEXT = """\
# SAEs of {model}

Sparse autoencoders of the residual stream after blocks {blocks} (counted from 0), bfloat16, in SAELens' layout;
by name: {names}.

Each has {d_sae} latents; trained as TopK (k = {k}) with sae-lens' trainer on {tokens:,} tokens
({rows:,} different ones), seed {seed}, and kept as JumpReLU with one threshold, at which as many latents
are active on training tokens. {kept}

**Read in training:** WikiText-2's validation part, Shakespeare, addresses of US presidents; the built-in prompts
reserved for fitting, plain and in the organism's training wrappers, and requests that the base model wrote itself,
with the organism's answers. No Alpaca. Windows of text begin with `<|im_start|>` and a newline.
**Recipe:** `DEMUR_DATA=folder python -m recipes.sae`.

**Figures**, on WikiText-2's test part (text) and on built-in test prompts, plain, prefilled, in fiction and continued,
with the organism's answers (chat); the first token of each passage is left out. Variance explained leaves out the
named outlier dimensions, chosen on training data. Cross-entropy in nats a token: as it is, with the reconstruction in
the stream's place, with the training mean in its place; recovered is the share of the loss of the last that the
reconstruction wins back, on about 20,000 tokens of each set, spread over it. Dead: silent on all these tokens.

| site | set | tokens | L0 | variance explained | over all dimensions | as it is | spliced | mean | recovered |
|---|---|---|---|---|---|---|---|---|---|
{figures}

| site | dead | of tokens | outlier dimensions |
|---|---|---|---|
{latents}

Licence: Apache-2.0.
"""


def card(model: str, training: Training, rows: int, cards: Sequence[Card], kept: str = "") -> str:
    """Markdown: what they are, what they read, how good they are. kept: what is to be said of their thresholds."""
    cards = sorted(cards, key=lambda c: int(c.sae.partition(".")[0]))
    figures = [
        f"| {c.sae} | {f.set} | {f.tokens:,} | {f.l0:.1f} | {f.explained:.3f} | {f.explained_all:.3f} | "
        f"{f.clean:.3f} | {f.spliced:.3f} | {f.ablated:.3f} | {f.recovered:.3f} |"
        for c in cards
        for f in c.sets
    ]
    latents = [
        f"| {c.sae} | {100 * c.silent:.1f}% | {c.tokens:,} | {', '.join(map(str, c.outliers)) or 'none'} |"
        for c in cards
    ]
    return TEXT.format(
        model=model,
        blocks=", ".join(c.sae.partition(".")[0] for c in cards),
        names=", ".join(f"`{model}/{c.sae}`" for c in cards),
        rows=rows,
        kept=kept,
        figures="\n".join(figures),
        latents="\n".join(latents),
        **{name: getattr(training, name) for name in ("d_sae", "k", "tokens", "seed")},
    )
