"""Blockwise quantization: data types, packing, double quantization and the quantized weight."""
