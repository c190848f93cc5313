"""Files in, pages of typed blocks out: one module a format, :mod:`reading` for any of them, and :mod:`guarded`, which
opens what comes from outside in a process of its own."""
