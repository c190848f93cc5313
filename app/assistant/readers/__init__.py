"""Files in, pages of typed blocks out: one module a format, :mod:`reading` for any, :mod:`guarded` for files from outside."""
