"""Files in, pages of typed blocks out: one module a format."""
