"""What the frame around the tabs says."""

TITLE = "QLoRA: 4-bit finetuning, explained and at work"
HEADING = "QLoRA"
LEAD = (
    "Finetune a language model whose weights are stored in 4 bits. See what 4 bits keep, where the memory goes, "
    "train a real model here, and ask the paper."
)
PAPER = "Dettmers, Pagnoni, Holtzman and Zettlemoyer, 2023 (arXiv 2305.14314)"
