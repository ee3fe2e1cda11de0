"""Samples to train on: files of several formats and rendered clips, mixed by weights."""
