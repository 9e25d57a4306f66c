"""The tokenizer of a .gguf file: transformers builds it, and what it leaves out of what the file states is set here."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from demur.directions.gguf_file import GGUFFile
from demur.errors import BadFile

SPLITS = {
    *("gpt-2", "smollm", "olmo", "mpt", "refact", "starcoder", "command-r", "codeshell"),  # GPT-2's own
    *("llama-bpe", "llama3", "llama-v3", "falcon3", "smaug-bpe", "dbrx", "tekken", "gpt-4o", "qwen2"),
}
"""`tokenizer.ggml.pre`: the ways of cutting text before byte pairs are merged that are rebuilt."""
WHOLE = ("llama-bpe", "llama3", "llama-v3", "falcon3", "tekken")
"""Those in which a piece that is a token is taken as it is, without merging."""
ENDS = ("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<|eom_id|>",
        "<eos>", "</s>")  # fmt: skip
"""Control tokens after which an answer is over, whatever else the file states."""
CONTROL = 3
GGUF = "model.gguf"


def write_tokenizer(file: GGUFFile, folder: Path, length: int) -> None:
    """Write a file's tokenizer and its template into `folder`, as save_pretrained does. length: the model's context.

    BadFile for a kind of tokenizer, or a way of cutting text, that is not known.
    """
    # Alone in a folder: transformers would take a tokenizer.json or a template that lies beside the file for its own.
    with tempfile.TemporaryDirectory(dir=folder) as alone:
        (Path(alone) / GGUF).symlink_to(file.path.absolute())
        tokenizer = _tokenizer(file, alone)
    tokenizer.model_max_length = length
    tokenizer.save_pretrained(folder)
    # transformers' classes add their own usual special tokens to a vocabulary that lacks them, beyond its embedding.
    path = folder / "tokenizer.json"
    stated = json.loads(path.read_text(encoding="utf-8"))
    own = [token for token in stated["added_tokens"] if token["id"] < len(file.fields["tokenizer.ggml.tokens"])]
    if own != stated["added_tokens"]:
        path.write_text(json.dumps({**stated, "added_tokens": own}, ensure_ascii=False), encoding="utf-8")


def _tokenizer(file: GGUFFile, alone: str) -> Any:
    """transformers' tokenizer. alone: a folder with a link to the file, and nothing else."""
    from transformers import PreTrainedTokenizerFast
    from transformers.utils import logging

    fields = file.fields
    kind, split = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre")
    if kind not in ("gpt2", "llama"):
        raise BadFile(f"{file.path} has a tokenizer of kind {kind!r}; known: gpt2, llama.")
    if kind == "gpt2" and split not in SPLITS:
        raise BadFile(
            f"{file.path} cuts text by tokenizer.ggml.pre = {split!r}, which is not known, so its tokens would be "
            f"others; known: {', '.join(sorted(SPLITS))}."
        )
    _check(file)
    logging.disable_progress_bar()
    # llama.cpp's own: a sentencepiece model begins with its bos token unless the file says otherwise.
    ends: dict[str, Any] = {key: True for key, default in (("add_bos_token", kind == "llama"), ("add_eos_token", False))
            if fields.get(f"tokenizer.ggml.{key}", default)}  # fmt: skip
    try:
        tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(alone, gguf_file=GGUF, **ends)
    except Exception as error:  # tokenizers' errors share no base class
        raise BadFile(f"{file.path}: its tokenizer cannot be built ({str(error)[:200]}); get it again.") from error
    backend = tokenizer.backend_tokenizer
    if split in WHOLE:
        backend.model.ignore_merges = True
    if split == "qwen2":
        from tokenizers.normalizers import NFC

        backend.normalizer = NFC()
    gemma = str(fields.get("general.architecture")).startswith("gemma")  # transformers' has none already
    if kind == "llama" and not gemma and not fields.get("tokenizer.ggml.add_space_prefix", True):
        _without_prefix(backend)
    return tokenizer


def ends_of(file: GGUFFile) -> int | list[int] | None:
    """The ids that end an answer: those the file names, and its control tokens of these names."""
    fields = file.fields
    stated = [fields.get(f"tokenizer.ggml.{key}_token_id") for key in ("eos", "eot", "eom")]
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields.get("tokenizer.ggml.token_type", [])
    named = [i for i, (token, kind) in enumerate(zip(tokens, kinds, strict=False)) if kind == CONTROL and token in ENDS]
    ids = [i for i in dict.fromkeys([*stated, *named]) if i is not None]
    return ids[0] if len(ids) == 1 else ids or None


def _check(file: GGUFFile) -> None:
    """BadFile for lists of other lengths, or ids that are no token's."""
    fields = file.fields
    tokens = fields.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not tokens or not isinstance(tokens[0], str):
        raise BadFile(f"{file.path} has no list tokenizer.ggml.tokens; convert it again.")
    for key in ("scores", "token_type"):
        found = fields.get(f"tokenizer.ggml.{key}")
        if found is not None and (not isinstance(found, list) or len(found) != len(tokens)):
            raise BadFile(f"{file.path}: tokenizer.ggml.{key} is not one a token; get it again.")
    for key in ("bos", "eos", "eot", "eom", "unknown", "padding"):
        number = fields.get(f"tokenizer.ggml.{key}_token_id")
        if number is not None and not (isinstance(number, int) and 0 <= number < len(tokens)):
            raise BadFile(f"{file.path}: tokenizer.ggml.{key}_token_id is {number}, of {len(tokens)} tokens.")


def _without_prefix(backend: Any) -> None:
    """No space is put before a text, nor taken from before an answer."""
    from tokenizers import decoders, pre_tokenizers

    backend.normalizer = None
    backend.pre_tokenizer = pre_tokenizers.Metaspace("\u2581", prepend_scheme="never", split=False)
    backend.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
