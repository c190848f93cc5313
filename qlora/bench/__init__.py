"""What the claims in README are measured with."""
