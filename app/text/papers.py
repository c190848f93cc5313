"""What the charts of similar papers say."""

PAPER_TREE_TITLE = "Papers by likeness"
AXIS = "likeness (cosine; branches meet at their mean)"
AXIS_NARROW = "likeness"
PAPER_TREE_DESCRIPTION = "A tree of {count} papers; those that are alike meet early. {steps}"
SECTION_TREE_DESCRIPTION = "A tree of {count} sections; those that are alike meet early. {steps}"
STEP = "{left} and {right} at {likeness:.2f}"
ALONE = "There is only “{name}”, so nothing meets."
NOTHING = "There is nothing to compare."
MORE = "{names} and {count} more"
COLUMNS = ("These", "and these", "meet at likeness")
TABLE_CAPTION = (
    "From the most alike to the least. Likeness is the mean cosine between the mean vectors of their passages, "
    "measured with the search index's embedding model."
)
