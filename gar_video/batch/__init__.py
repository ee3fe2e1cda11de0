"""Footage of many cameras in, a table of answers out."""
