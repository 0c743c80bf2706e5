"""The recipe engine: command line, configuration, stages, markers, lock, launch."""
