"""Saliency Atlas's stages (verbs, Beam) and the libraries (nouns, no Beam) they are made of."""
