"""Sparse autoencoders: what they compute, and the SAELens layout. Nothing here runs a model."""

from demur.saes.hooks import hook_name, site_of
from demur.saes.operators import decode, decoder_rows, encode, encode_some, error
from demur.saes.sae import SAE, check_model
from demur.saes.saelens import save_sae

__all__ = [
    "SAE",
    "check_model",
    "decode",
    "decoder_rows",
    "encode",
    "encode_some",
    "error",
    "hook_name",
    "save_sae",
    "site_of",
]
