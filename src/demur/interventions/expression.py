"""One-line steering for the command line: a JSON spec file, or OP:DIRECTION[:DOSE[r]].

steer.json                         a spec written by demur or by hand
add:refusal.safetensors:1.5r       add 1.5 times the median activation norm (r: relative)
add:refusal.safetensors:12         add 12 times the unit direction
ablate:refusal.safetensors         remove it at block inputs, attention and MLP outputs of all layers, first token aside
scale:refusal.safetensors:0.5      halve its component at its own site
"""

from __future__ import annotations

from pathlib import Path

from demur.directions.artifact import load_direction
from demur.errors import BadSpec
from demur.interventions.affine import add, scale
from demur.interventions.at import ablate_everywhere
from demur.interventions.base import Intervention
from demur.interventions.spec import read_spec

OPS = ("add", "ablate", "scale")


def read_steer(text: str, n_layers: int, weights: str | None = None) -> Intervention:
    """The intervention that `text` names. BadSpec or BadFile with the fix otherwise."""
    op, _, rest = text.partition(":")
    if op not in OPS or not rest:
        if Path(text).suffix != ".json":
            raise BadSpec(
                f"--steer {text!r} is neither a .json spec nor OP:DIRECTION[:DOSE]; "
                f"write add:FILE.safetensors:1.0r, ablate:FILE.safetensors or scale:FILE.safetensors:0.5."
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
