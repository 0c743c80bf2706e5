"""Metrics, intervals and calibration, in numpy and scikit-learn."""
