"""Embeddings in two dimensions: UMAP, t-SNE or principal components, the same for the same seed."""

from __future__ import annotations

import numpy as np
from sertools.errors import ConfigError, DataError

METHODS = ("umap", "tsne", "pca")
FEWEST = 5
"""Utterances from which on a map says anything."""


def project(vectors: np.ndarray, method: str, seed: int = 0) -> np.ndarray:
    """Return (n, 2) positions of (n, dim) vectors.

    Args:
        method: "umap" (McInnes et al. 2018; 15 neighbours, minimal distance 0.1), "tsne" (van der
            Maaten & Hinton 2008; perplexity 30, less for few vectors, begun from principal
            components) or "pca". Each with the defaults of umap-learn or scikit-learn otherwise.
        seed: of what is drawn at random; pca draws nothing.

    Raises:
        ConfigError: umap-learn is not installed.
        DataError: too few vectors.
    """
    assert method in METHODS
    if len(vectors) < FEWEST:
        raise DataError(f"{len(vectors)} utterances are too few for a map", [],
                        f"extract the embeddings of {FEWEST} utterances or more")
    if method == "umap":
        try:
            import umap
        except ImportError as error:
            raise ConfigError("UMAP needs umap-learn, which is not installed", [],
                              "pip install umap-learn==0.5.12, or take --method tsne or pca"
                              ) from error
        neighbours = min(15, len(vectors) - 1)
        mapper = umap.UMAP(n_neighbors=neighbours, min_dist=0.1, random_state=seed, n_jobs=1,
                           init="pca" if len(vectors) < 20 else "spectral")
        return np.asarray(mapper.fit_transform(vectors), dtype=np.float64)
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(vectors) - 1) / 3)
        mapper = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
        return np.asarray(mapper.fit_transform(vectors), dtype=np.float64)
    centred = np.asarray(vectors, dtype=np.float64) - np.mean(vectors, axis=0, dtype=np.float64)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2][[0, 1], np.abs(axes[:2]).argmax(1)])[:, None]
    return centred @ axes.T
