"""Charts as pure functions of plain data; the tabs show them as SVG, the notebooks as figures."""
