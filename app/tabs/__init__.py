"""One module a tab, each with ``TAB_ID``, ``TITLE`` and ``build(blocks)``; ``app.interface`` puts them in order."""
