"""Instruction data: reading files, and turning samples into tokens."""
