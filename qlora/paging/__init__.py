"""Explicit paging of optimizer state: where its pages are, and when they move."""
