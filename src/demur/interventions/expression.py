"""One-line steering for the command line: a JSON spec file, OP:DIRECTION[:DOSE[r]], or OP:FEATURES[:NUMBER].

steer.json                         a spec written by demur or by hand
add:refusal.safetensors:1.5r       add 1.5 times the median activation norm (r: relative)
add:refusal.safetensors:12         add 12 times the unit direction
ablate:refusal.safetensors         remove it at block inputs, attention and MLP outputs of all layers, first token aside
scale:refusal.safetensors:0.5      halve its component at its own site
clamp:features.json:12             hold every latent of a feature set at 12, the SAEs' errors kept
clamp:features.json:0.3r           ... at 0.3 times the value that moves the stream by its own length
suppress:features.json             multiply them by 0
suppress:features.json:-1          multiply them by -1

A feature set's SAEs are loaded from the folders in its origin's `saes`, and checked against its hashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from demur.directions.artifact import load_direction
from demur.errors import BadSpec
from demur.interventions.affine import add, scale
from demur.interventions.at import ablate_everywhere
from demur.interventions.base import Intervention
from demur.interventions.clamp import clamp_features, multiply_features
from demur.interventions.spec import read_spec
from demur.saes.feature_set import load_features, load_saes
from demur.types import FeatureSet

OPS = ("add", "ablate", "scale")
FEATURE_OPS = ("clamp", "suppress")


def read_steer(text: str, n_layers: int, weights: str | None = None) -> Intervention:
    """The intervention that `text` names. BadSpec or BadFile with the fix otherwise."""
    op, _, rest = text.partition(":")
    if op in FEATURE_OPS and rest:
        return _on_features(text, op, rest, weights)
    if op not in OPS or not rest:
        if Path(text).suffix != ".json":
            raise BadSpec(
                f"--steer {text!r} is neither a .json spec nor OP:DIRECTION[:DOSE]; "
                f"write add:FILE.safetensors:1.0r, ablate:FILE.safetensors, scale:FILE.safetensors:0.5, "
                f"clamp:FEATURES.json:0.3r or suppress:FEATURES.json."
            )
        return read_spec(text)
    path, _, dose = rest.rpartition(":") if ":" in rest and not rest.endswith(".safetensors") else (rest, "", "")
    direction = load_direction(path, weights)
    relative = dose.endswith("r")
    try:
        strength = float(dose.removesuffix("r")) if dose else 1.0
    except ValueError:
        raise BadSpec(f"--steer {text!r}: the dose {dose!r} is not a number (with r for relative).") from None
    if op == "add":
        return add(direction, strength, relative or not dose)
    if relative:
        raise BadSpec(f"--steer {text!r}: a relative dose goes with add only.")
    return ablate_everywhere(direction, n_layers, strength) if op == "ablate" else scale(direction, strength)


def _on_features(text: str, op: str, rest: str, weights: str | None) -> Intervention:
    path, _, given = rest.rpartition(":") if ":" in rest and not rest.endswith(".json") else (rest, "", "")
    if op == "clamp" and not given:
        raise BadSpec(
            f"--steer {text!r} says no value; write clamp:{path}:0.3r (r: relative to the stream), or a number in the "
            "latents' units."
        )
    relative = op == "clamp" and given.endswith("r")
    try:
        number = float(given.removesuffix("r") if relative else given) if given else 0.0
    except ValueError:
        raise BadSpec(f"--steer {text!r}: {given!r} is not a number (with r for relative, for clamp).") from None
    features = load_features(path, weights)
    if relative:
        number *= _unit(text, path, features)
    return (clamp_features if op == "clamp" else multiply_features)(features, load_saes(features), number)


def _unit(text: str, path: str, features: FeatureSet) -> float:
    """The clamp at which k latents with decoder rows of length 1, at right angles, move the stream by its length."""
    norms = features.origin.get("norms")
    sites = sorted({str(feature.site) for feature in features.features})
    if not isinstance(norms, Mapping) or any(not isinstance(norms.get(site), (int, float)) for site in sites):
        raise BadSpec(f"--steer {text!r}: {path} does not say the streams' norms for r; find or pick the features "
                      "again, or give a number.")  # fmt: skip
    return sum(norms[site] for site in sites) / len(sites) / len(features.features) ** 0.5
