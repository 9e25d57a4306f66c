"""What is fetched of a model on the Hugging Face hub. The hub library's errors share no base class."""

from __future__ import annotations

from pathlib import Path

FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
"""Of a repository: no code, and no pickles."""
ANSWER = 5.0
"""Seconds that the hub has to answer."""


def snapshot(original: str, revision: str | None = None, *, fetch: bool = True) -> Path:
    """The folder with a repository's files, in the hub's own cache. fetch: download what is lacking.

    Raises whatever the hub library does.
    """
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(original, revision=revision, local_files_only=not fetch, allow_patterns=list(FILES)))


def answer(original: str) -> str:
    """The revision that the hub has of a model; "" when it does not answer."""
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return ""
    try:
        return HfApi().model_info(original, timeout=ANSWER).sha or ""
    except Exception:  # the hub library's errors share no base class; any of them is no answer
        return ""
