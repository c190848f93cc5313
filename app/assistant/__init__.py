"""Questions about a paper, answered with its own passages.

Reads top to bottom: :mod:`library` finds the paper, :mod:`readers` turns it into pages and blocks, :mod:`chunking` into
passages, :mod:`index` keeps them with their vectors, :mod:`retrieval` finds the ones a question is about,
:mod:`grounding` decides whether they answer it, :mod:`answering` quotes them. :mod:`assistant` ties them together.
"""
