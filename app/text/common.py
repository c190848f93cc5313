"""What several tabs say in the same words."""

MEASURED = "measured"
RECORDED = "recorded"
COMPUTED = "computed by formula"
FROM_THE_PAPER = "from the paper"

SHOW_AS_TABLE = "Show these numbers as a table"
SAVE = "Save as"
SAVE_AS = "Save “{title}” as {kind}"
ASK = "What does the paper say?"
ASK_LABEL = "What does the paper say? Ask: {question}"
