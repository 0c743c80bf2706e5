"""Records, manifests, folds, audio, caches and batches."""
