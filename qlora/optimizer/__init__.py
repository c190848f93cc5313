"""Optimizers whose state is paged."""
