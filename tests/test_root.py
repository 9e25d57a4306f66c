"""The package root: what it exports, and that importing it is cheap."""

import subprocess
import sys

import demur

NAMES = """AuditConfig BaselineConfig Conversation Decoding DemurError Direction DirectionConfig Engine EvaluateConfig
Feature FeatureSet Figure FindConfig Generation HFEngine Journal Judge JudgeConfig Message MockEngine OutcomeJudge
Prompt PromptSets Request Site SteeringVector VectorConfig Verdict VerifyConfig WhiteBoxEngine __version__ ablate add
at attack audit baseline builtin chain clamp clamp_features clean_vector evaluate find_features fit_behaviour
fit_refusal_direction judge_file load load_direction load_features load_prompts load_sae load_vector multiply
multiply_features own_sets parse_steer read_results save_direction save_features save_vector scale steering
verify_features wrap"""


def test_the_root_exports_these_names_and_no_others():
    assert set(demur.__all__) == set(NAMES.split())


def test_every_exported_name_is_there():
    for name in demur.__all__:
        assert getattr(demur, name) is not None


def test_importing_the_root_loads_neither_torch_nor_transformers():
    code = "import demur, sys; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
