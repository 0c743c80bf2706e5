"""Training: the one mended SpeechBrain Brain and what is built on it."""
