"""demur: find, prove, steer and audit refusal in chat models.

The root re-exports the public API (docs/api.md); each name is imported when it is first used, so that `import demur`
loads neither torch nor transformers. Everything else is private by convention.
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.version import VERSION as __version__

if TYPE_CHECKING:
    from demur.attacks import attack as attack
    from demur.directions.anything import load_direction as load_direction
    from demur.directions.artifact import save_direction as save_direction
    from demur.directions.artifact import save_vector as save_vector
    from demur.directions.exchange import load_vector as load_vector
    from demur.engines.base import Engine as Engine
    from demur.engines.base import Request as Request
    from demur.engines.base import WhiteBoxEngine as WhiteBoxEngine
    from demur.engines.hf import HFEngine as HFEngine
    from demur.engines.hf import load as load
    from demur.engines.hf import wrap as wrap
    from demur.engines.mock import MockEngine as MockEngine
    from demur.errors import DemurError as DemurError
    from demur.experiments.audit_config import AuditConfig as AuditConfig
    from demur.experiments.baseline import BaselineConfig as BaselineConfig
    from demur.experiments.baseline import baseline as baseline
    from demur.experiments.evaluate import EvaluateConfig as EvaluateConfig
    from demur.experiments.evaluate import evaluate as evaluate
    from demur.experiments.features import VerifyConfig as VerifyConfig
    from demur.experiments.features import verify_features as verify_features
    from demur.experiments.judge_file import JudgeConfig as JudgeConfig
    from demur.experiments.judge_file import judge_file as judge_file
    from demur.experiments.vector_audit import audit as audit
    from demur.fitting.behaviours import VectorConfig as VectorConfig
    from demur.fitting.behaviours import fit_behaviour as fit_behaviour
    from demur.fitting.cleaning import clean_vector as clean_vector
    from demur.fitting.find_features import FindConfig as FindConfig
    from demur.fitting.find_features import find_features as find_features
    from demur.fitting.refusal import DirectionConfig as DirectionConfig
    from demur.fitting.refusal import fit_refusal_direction as fit_refusal_direction
    from demur.interventions import ablate as ablate
    from demur.interventions import add as add
    from demur.interventions import at as at
    from demur.interventions import chain as chain
    from demur.interventions import clamp as clamp
    from demur.interventions import clamp_features as clamp_features
    from demur.interventions import multiply as multiply
    from demur.interventions import multiply_features as multiply_features
    from demur.interventions import parse_steer as parse_steer
    from demur.interventions import scale as scale
    from demur.judges.base import Judge as Judge
    from demur.judges.outcome import OutcomeJudge as OutcomeJudge
    from demur.models.steering import steering as steering
    from demur.prompts import PromptSets as PromptSets
    from demur.prompts import own_sets as own_sets
    from demur.prompts.builtin import builtin as builtin
    from demur.prompts.load import load as load_prompts
    from demur.runs import Journal as Journal
    from demur.runs import read_results as read_results
    from demur.saes import load_features as load_features
    from demur.saes import load_sae as load_sae
    from demur.saes import save_features as save_features
    from demur.types import Conversation as Conversation
    from demur.types import Decoding as Decoding
    from demur.types import Direction as Direction
    from demur.types import Feature as Feature
    from demur.types import FeatureSet as FeatureSet
    from demur.types import Figure as Figure
    from demur.types import Generation as Generation
    from demur.types import Message as Message
    from demur.types import Prompt as Prompt
    from demur.types import Site as Site
    from demur.types import SteeringVector as SteeringVector
    from demur.types import Verdict as Verdict


def _homes() -> dict[str, tuple[str, str]]:
    """Exported name -> its module and its name there, read off the imports above: they are the one list."""
    block = next(
        node for node in ast.parse(Path(__file__).read_text(encoding="utf-8")).body if isinstance(node, ast.If)
    )
    return {
        alias.asname: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if alias.asname
    }


_HOMES = _homes()
__all__ = ["__version__", *_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'demur' has no attribute {name!r}")
    module, own = _HOMES[name]
    return getattr(import_module(module), own)


def __dir__() -> list[str]:
    return sorted(__all__)
