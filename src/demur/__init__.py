"""demur: find, prove, steer, audit and serve refusal in chat models.

The root re-exports what most programs need; each name is imported when it is first used, so that
`import demur` loads neither torch nor transformers.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("demur")
except PackageNotFoundError:
    __version__ = "0.0.0"

_HOMES = {
    "Conversation": "demur.types",
    "Decoding": "demur.types",
    "DemurError": "demur.errors",
    "Direction": "demur.types",
    "Figure": "demur.types",
    "Generation": "demur.types",
    "HFEngine": "demur.engines.hf",
    "Journal": "demur.runs",
    "Message": "demur.types",
    "MockEngine": "demur.engines.mock",
    "OutcomeJudge": "demur.judges.outcome",
    "Prompt": "demur.types",
    "Request": "demur.engines.base",
    "Site": "demur.types",
    "SteeringVector": "demur.types",
    "ablate": "demur.interventions",
    "add": "demur.interventions",
    "at": "demur.interventions",
    "attack": "demur.attacks",
    "builtin": "demur.prompts.builtin",
    "chain": "demur.interventions",
    "clamp": "demur.interventions",
    "fit_direction": "demur.fitting.candidates",
    "load_direction": "demur.directions.artifact",
    "load_prompts": "demur.prompts.load",
    "load_sae": "demur.saes",
    "multiply": "demur.interventions",
    "run_study": "demur.experiments.quickstart",
    "save_direction": "demur.directions.artifact",
    "scale": "demur.interventions",
}
_NAMES = {"load_prompts": "load"}

__all__ = ["__version__", *_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'demur' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), _NAMES.get(name, name))


def __dir__() -> list[str]:
    return sorted(__all__)
