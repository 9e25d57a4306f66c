"""Training sparse autoencoders, and their quality cards."""
