"""What a model does: text that it generates."""
