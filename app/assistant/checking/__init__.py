"""Generated text held against the passages, sentence by sentence.

:mod:`claims` takes a text apart, :mod:`wording` knows which words mean the same, :mod:`places` says how well a place of
a passage supports a sentence, :mod:`relations` and :mod:`values` find the same words in another relation, and
:mod:`checker` gives the verdicts, :mod:`several` those by several papers.
"""

from app.assistant.checking.checker import SUPPORTED, UNSUPPORTED, WEAK, CheckedSentence, Checker, CheckReport

__all__ = ["SUPPORTED", "UNSUPPORTED", "WEAK", "CheckReport", "CheckedSentence", "Checker"]
