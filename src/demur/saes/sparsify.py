"""EleutherAI's sparsify: `<hookpoint>/cfg.json` and `sae.safetensors`, TopK SAEs of a module's output.

The folder's name is the module (layers.12 is the output of block 12, layers.12.mlp what its MLP writes); the model
stands in `config.json` beside it. b_dec is always taken off the stream, and W_dec is stored [latents, d_in]
(sparsify/sparse_coder.py; SAELens' loader reads both otherwise).
"""

from __future__ import annotations

from pathlib import Path

from demur.errors import BadFile, UnknownName
from demur.saes.files import read_config, read_tensors, take, wanted
from demur.saes.hooks import site_of
from demur.saes.sae import SAE

FILES = ("cfg.json", "sae.safetensors")


def read(folder: Path) -> SAE:
    """The SAE in a hookpoint's folder.

    Raises BadFile for a file that is missing or damaged or a transcoder; UnknownName for an activation or a folder
    name that demur does not have; BadVector for bad weights.
    """
    path = folder / FILES[0]
    config = read_config(path)
    for key in ("transcode", "skip_connection", "embed_skip", "gram_lookup"):
        if config.get(key):
            raise BadFile(f"{path} has {key}: not a plain SAE; demur takes SAEs of one site: give one without.")
    if config.get("activation", "topk") != "topk" or config.get("signed"):
        name = "signed topk" if config.get("signed") else config["activation"]
        raise UnknownName(f"{path} has activation {name!r}; known: topk. Give a TopK SAE.")
    tensors, _ = read_tensors(folder / FILES[1])
    if "W_skip" in tensors:
        raise BadFile(f"{folder / FILES[1]} has W_skip: a transcoder; demur takes SAEs of one site.")
    names = {"W_enc": "encoder.weight.T", "W_dec": "W_dec", "b_enc": "encoder.bias", "b_dec": "b_dec"}
    weights = take(tensors, names, folder / FILES[1])
    metadata = {}
    if (folder.parent / "config.json").exists():
        run = read_config(folder.parent / "config.json")
        known = {"model_name": run.get("model"), "context_size": run.get("ctx_len"), "dataset_path": run.get("dataset")}
        metadata = {key: value for key, value in known.items() if value}
    site = site_of(folder.name, str(metadata.get("model_name", "")))
    metadata["hf_hook_name"] = folder.name
    sae = SAE(
        "topk",
        weights,
        site,
        k=wanted(config, "k", path),
        apply_b_dec_to_input=True,
        metadata=metadata,
        source=str(folder),
    )
    if config.get("d_in", sae.d_in) != sae.d_in:
        raise BadFile(f"{path} has d_in {config['d_in']}, the weights {sae.d_in}; copy the whole folder.")
    return sae
