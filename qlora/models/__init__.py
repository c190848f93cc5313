"""Loading models: straight to 4-bit, and the packaged demo model."""
