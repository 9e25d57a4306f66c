"""Pure functions on the residual stream, and their JSON form. An intervention is one file of this package."""

from importlib import import_module
from pkgutil import iter_modules

from demur.interventions.ablate import ablate, everywhere
from demur.interventions.affine import add, scale
from demur.interventions.at import at
from demur.interventions.base import Context, Resid, Scalar, Vector, checked, number, parse_site, unit
from demur.interventions.batch import compile_batch
from demur.interventions.chain import chain
from demur.interventions.clamp import clamp, multiply, splice
from demur.interventions.expression import parse_steer
from demur.interventions.feature_sets import clamp_features, multiply_features
from demur.interventions.intervention import Intervention, bound, bound_each, from_spec
from demur.interventions.patch import patch
from demur.interventions.spec import read_spec, write_spec

# A file that nobody imports yet still adds its op to those that a spec may name.
for _file in iter_modules(__path__):
    import_module(f"{__name__}.{_file.name}")

__all__ = [
    "Context",
    "Intervention",
    "Resid",
    "Scalar",
    "Vector",
    "ablate",
    "add",
    "at",
    "bound",
    "bound_each",
    "chain",
    "checked",
    "clamp",
    "clamp_features",
    "compile_batch",
    "everywhere",
    "from_spec",
    "multiply",
    "multiply_features",
    "number",
    "parse_site",
    "parse_steer",
    "patch",
    "read_spec",
    "scale",
    "splice",
    "unit",
    "write_spec",
]
