"""Results as text, JSON and HTML, written by code from artefacts."""
