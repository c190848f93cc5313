"""Modules: a linear layer with quantized weights, and one with a LoRA adapter on top."""
