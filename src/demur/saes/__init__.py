"""Sparse autoencoders: what they compute, the formats they come in, and a writer. Nothing here runs a model."""

from demur.saes.feature_set import load_features, load_saes, save_features
from demur.saes.hooks import hook_name, site_of
from demur.saes.load import load_sae, reload_sae
from demur.saes.operators import decode, decoder_rows, encode, encode_some, error, thresholded
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
    "load_features",
    "load_sae",
    "load_saes",
    "reload_sae",
    "save_features",
    "save_sae",
    "site_of",
    "thresholded",
]
