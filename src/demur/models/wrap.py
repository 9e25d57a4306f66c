"""A model that the user holds, as demur's engines need it. It stays as it was outside demur's own passes."""

from __future__ import annotations

from typing import Any

from torch import nn

from demur.errors import InputError
from demur.models.families import Family, family_of
from demur.models.fingerprint import of_model, running
from demur.models.load import LoadedModel, n_embeddings
from demur.models.templates import template_of
from demur.models.tokens import check_vocabulary, ends_of


def from_parts(model: Any, tokenizer: Any, name: str = "", *, thinking: bool | None = None) -> LoadedModel:
    """A transformers causal language model in memory and its tokenizer.

    name: what reports call it; by default where transformers loaded it from. thinking: on or off, where the chat
    template has a switch for it. Nothing of the model is changed. Its fingerprint is its folder's when it holds that
    folder's very weights (`fingerprint.of_model`); weights that change later need another call. Raises InputError for a
    model in training mode, UnknownName for a family that is not known, BadSpec for a dtype other than fp32 and bf16,
    BadFile for a tokenizer that does not fit the model, or without a chat template that works.
    """
    family = family_in(model)
    check_mode(model)
    name = name or str(getattr(model.config, "_name_or_path", "")) or type(model).__name__
    chat = template_of(tokenizer, name, thinking)
    check_vocabulary(tokenizer, chat, n_embeddings(model), name)
    ends = ends_of(tokenizer, chat, model.generation_config)
    return LoadedModel(name, model, tokenizer, family, running(of_model(model, tokenizer), model, chat), chat, ends)


def family_in(model: Any) -> Family:
    """The family of a transformers model. InputError for anything else, and for one inside a wrapper of its own."""
    if not isinstance(model, nn.Module) or not hasattr(model, "config"):
        raise InputError(f"a {type(model).__name__} is no transformers model; give an AutoModelForCausalLM.")
    family = family_of(model.config)
    try:
        model.get_submodule(family.blocks)
    except AttributeError:
        raise InputError(
            f"a {type(model).__name__} keeps no blocks at {family.blocks!r}; give the transformers model that it "
            f"wraps (of a PEFT model: get_base_model())."
        ) from None
    return family


def check_mode(model: Any) -> None:
    """InputError for a model in training mode."""
    if model.training:
        raise InputError("the model is in training mode, where dropout changes answers; call model.eval() first.")
