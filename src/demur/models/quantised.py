"""Quantised checkpoints: whether their kernels run here, asked before any weight is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from demur.errors import BadSpec
from demur.models.fingerprint import DTYPES

PACKAGES = {
    "bitsandbytes": "bitsandbytes",
    "gptq": "gptqmodel optimum",
    "awq": "gptqmodel",
    "mxfp4": "kernels triton",
    "compressed-tensors": "compressed-tensors",
    "hqq": "hqq",
    "torchao": "torchao",
    "quanto": "optimum-quanto",
}
"""Method of quantisation -> the packages with its kernels."""


def method_of(config: Any) -> str | None:
    """The method that a checkpoint's config names, or None for one that is not quantised."""
    given = getattr(config, "quantization_config", None)
    if given is None:
        return None
    method = given.get("quant_method") if isinstance(given, dict) else given.quant_method
    return str(getattr(method, "value", method) or "no method")


def check_runs(folder: Path, config: Any, device_map: Any) -> None:
    """BadSpec where transformers cannot load this checkpoint here, with what is missing.

    Methods that transformers undoes while it loads (fp8 and mxfp4 without a GPU) run everywhere.
    """
    method = method_of(config)
    if method is None:
        return
    from transformers.quantizers import AutoHfQuantizer

    try:
        quantizer = AutoHfQuantizer.from_config(config.quantization_config, pre_quantized=True)
        quantizer.validate_environment(device_map=device_map)
    except Exception as error:  # each method has errors of its own: ImportError, RuntimeError, ValueError, KeyError
        text = str(error).strip().splitlines()
        package = PACKAGES.get(method)
        fix = f"pip install {package}, or " if package else ""
        raise BadSpec(
            f"{folder} is quantised with {method}, which does not run here "
            f"({(text[0] if text else type(error).__name__)[:200]}); {fix}take a machine that its kernels support, or "
            f"the model that it was made of."
        ) from error


def computed_in(model: Any, asked: str) -> str:
    """The dtype that a quantised model computes in; BadSpec where that is not the one asked for, or not demur's."""
    name = next((name for name, value in DTYPES.items() if value == model.dtype), None)
    if name is None or asked not in (name, "auto"):
        raise BadSpec(
            f"the model is quantised with {method_of(model.config)} and computes in {model.dtype}, not in {asked}; "
            f"give dtype {name!r}." if name else f"demur computes in {', '.join(DTYPES)}, and this quantised model in "
            f"{model.dtype}; take the model that it was made of."
        )  # fmt: skip
    return name
