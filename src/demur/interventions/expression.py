"""Steering in one line, for the command line and Python: a JSON spec file, or OP:FILE[:DOSE], DOSE being NUMBER[r].

steer.json                         a spec written by demur or by hand
add:refusal.safetensors:1.5r       add 1.5 times the median activation norm (r: relative); no dose: 1r
add:refusal.safetensors:12         add 12 times the unit direction
add:warmth.gguf:2                  add a steering vector twice, at all its sites (also .svec, .pt, a fitted one);
                                   no dose: once; r where the vector says activation norms
add:features.json:0.5r             add half the stream's norm along the sum of the latents' unit decoder rows; no
                                   dose: 1r; without r: that long
ablate:refusal.safetensors         remove it at block inputs, attention and MLP outputs of all layers, first token aside
scale:refusal.safetensors:0.5      halve its component at its own site; as ablate, with a vector of one site too
clamp:features.json:12             hold every latent of a feature set at 12, the SAEs' errors kept
clamp:features.json:0.3r           ... at 0.3 times the value that moves the stream by its own length
suppress:features.json             multiply them by 0
suppress:features.json:-1          multiply them by -1

A feature set's SAEs are loaded from the folders in its origin's `saes`, and checked against its hashes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

from demur.directions.anything import read_any
from demur.directions.exchange import ENDINGS
from demur.errors import BadSpec, InputError
from demur.interventions.ablate import ablate
from demur.interventions.affine import NO_DIRECTION, add, scale
from demur.interventions.feature_sets import clamp_features, multiply_features
from demur.interventions.intervention import Intervention
from demur.interventions.spec import read_spec
from demur.saes.feature_set import load_features
from demur.types import Direction, FeatureSet, SteeringVector

Steer: TypeAlias = "Intervention | str | os.PathLike[str]"
"""An intervention, a line as on the command line, or the file of a spec."""

OPS = ("add", "ablate", "scale", "clamp", "suppress")
RELATIVE = ("add", "clamp")
"""Those that take a dose relative to the stream."""


def parse_steer(steer: Steer, weights: str | None = None) -> Intervention:
    """The intervention that a line names (an intervention is itself). InputError with the fix for anything else.

    weights: the engine fingerprint's weight hash that the file must have been made with.
    """
    if isinstance(steer, Intervention):
        return steer
    if isinstance(steer, (Direction, SteeringVector)):
        raise InputError(
            f"a {type(steer).__name__} alone does not say what to do with it; give demur.add(it, 0.3, relative=True), "
            "or demur.ablate(it)."
        )
    if isinstance(steer, FeatureSet):
        raise InputError(
            "a FeatureSet alone does not say what to do with it; give demur.clamp_features(it, 0.3, relative=True), "
            "or demur.multiply_features(it, 0.0)."
        )
    if not isinstance(steer, (str, os.PathLike)):
        raise InputError(
            f"a {type(steer).__name__} is no steering; give an intervention, as demur.add(direction, 0.3, "
            "relative=True), or a text, as add:FILE.safetensors:0.3r."
        )
    steer = os.fspath(steer)
    op, _, rest = steer.partition(":")
    if op not in OPS or not rest:
        if Path(steer).suffix != ".json":
            raise BadSpec(
                f"steer {steer!r} is neither a .json spec nor OP:FILE[:DOSE]; write add:FILE.safetensors:1.0r (or "
                f"{', '.join(ENDINGS[1:])}), ablate:FILE.safetensors, scale:FILE.safetensors:0.5, "
                f"clamp:FEATURES.json:0.3r or suppress:FEATURES.json."
            )
        return read_spec(steer)
    path, dose, relative = _split(steer, op, rest)
    if op in ("clamp", "suppress"):
        features = load_features(path, weights)
        if op == "suppress":
            return multiply_features(features, dose or 0.0)
        if dose is None:
            raise BadSpec(
                f"steer {steer!r} says no value; write clamp:{path}:0.3r (r: relative to the stream), or a number in "
                "the latents' units."
            )
        return clamp_features(features, dose, relative)
    what, strength = read_steering(path, weights), 1.0 if dose is None else dose
    if op == "add":
        return add(what, strength, relative or (dose is None and not isinstance(what, SteeringVector)))
    if isinstance(what, FeatureSet):
        raise BadSpec(NO_DIRECTION)
    if op == "ablate":
        return ablate(what, dose=strength)
    made = scale(what, strength)
    if dose is None:
        raise BadSpec(f"steer {steer!r} says no factor; write scale:{path}:0.5, which halves the component.")
    return made


def read_steering(path: str | Path, weights: str | None = None) -> Direction | SteeringVector | FeatureSet:
    """What a file holds that can be added: a feature set (.json), or whatever `read_any` reads."""
    return load_features(path, weights) if Path(path).suffix.lower() == ".json" else read_any(path, weights)


def _split(text: str, op: str, rest: str) -> tuple[str, float | None, bool]:
    """FILE[:NUMBER[r]] -> the file, the number if there is one, and whether it is relative."""
    path, colon, said = rest.rpartition(":")
    if not colon or Path(rest).suffix.lower() in (*ENDINGS, ".json"):
        return rest, None, False
    relative = said.endswith("r")
    try:
        dose = float(said.removesuffix("r")) if said else None
    except ValueError:
        raise BadSpec(f"steer {text!r}: the dose {said!r} is not a number (with r for relative).") from None
    if relative and op not in RELATIVE:
        raise BadSpec(f"steer {text!r}: {said!r} is not a number; a relative dose goes with add and clamp only.")
    return path, dose, relative
