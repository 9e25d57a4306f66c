"""The bundled SAEs of smollm2-refuser: what they read, how they are trained, how they are checked."""
