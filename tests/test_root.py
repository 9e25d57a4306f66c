"""The package root: what it exports, and that importing it is cheap."""

import subprocess
import sys

import demur

NAMES = """__version__
Conversation Decoding DemurError Direction Figure Generation HFEngine Journal Message
MockEngine OutcomeJudge Prompt Request Site SteeringVector ablate add at attack builtin chain clamp fit_direction
load_direction
load_prompts load_sae load_vector multiply run_study save_direction scale"""


def test_the_root_exports_these_names_and_no_others():
    assert set(demur.__all__) == set(NAMES.split())


def test_every_exported_name_is_there():
    for name in demur.__all__:
        assert getattr(demur, name) is not None


def test_importing_the_root_loads_neither_torch_nor_transformers():
    code = "import demur, sys; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
