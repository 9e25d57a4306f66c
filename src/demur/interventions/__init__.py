"""Pure functions on the residual stream, and their JSON form."""

from demur.interventions.affine import ablate, add, everywhere, parse_site, scale
from demur.interventions.at import ablate_everywhere, at
from demur.interventions.base import Context, Intervention
from demur.interventions.batch import compile_batch
from demur.interventions.chain import chain
from demur.interventions.clamp import clamp, clamp_features, multiply, multiply_features, splice
from demur.interventions.patch import patch, patched_until
from demur.interventions.spec import from_spec, read_spec, write_spec

__all__ = [
    "Context",
    "Intervention",
    "ablate",
    "ablate_everywhere",
    "add",
    "at",
    "chain",
    "clamp",
    "clamp_features",
    "compile_batch",
    "everywhere",
    "from_spec",
    "multiply",
    "multiply_features",
    "parse_site",
    "patch",
    "patched_until",
    "read_spec",
    "scale",
    "splice",
    "write_spec",
]
