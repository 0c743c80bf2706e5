"""Official checkpoint formats, read into our own encoder without running code in them."""
