"""Networks in plain torch: they know no files, no YAML and no SpeechBrain."""
