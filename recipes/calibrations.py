"""The bundled model's calibrations of the judge, as they ship: `python -m recipes.calibrations`.

Run it when the model, its template, the validation prompts or the wrappers change; a test says when
(tests/evaluation/test_shipped.py).
"""

from __future__ import annotations

from demur.engines.hf import HFEngine
from demur.evaluation.calibration import LENGTH, SHIPPED, keep, measure
from recipes.parts import say

MODEL = "smollm2-refuser"


def main() -> None:
    """Both dtypes; what is there is replaced."""
    for old in SHIPPED.glob("*.safetensors"):
        old.unlink()
    for dtype in ("bf16", "fp32"):
        engine = HFEngine(MODEL, dtype)
        print(keep(measure(engine, LENGTH, progress=say), engine, LENGTH, SHIPPED))


if __name__ == "__main__":
    main()
