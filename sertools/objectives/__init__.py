"""Objectives: plain functions from outputs and targets to a loss; they know no model."""
