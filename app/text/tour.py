"""What the guided tour says: its stops on the real controls."""

START, RESUME = "Take the tour", "Go on with the tour ({at} of {all})"
NAME = "Guided tour"
BACK, NEXT, END, LEAVE = "Back", "Next", "Done", "Leave the tour"
AT = "{at} of {all}"

# Title, what to do and to see, tab, element there.
STOPS = (
    (
        "A layer that learns beside a frozen one",
        "Follow a text through the picture: the blue boxes never change, the orange one is all that is trained.",
        "start",
        "start-story",
    ),
    (
        "Sixteen values for every weight",
        "Choose a larger block size, then compare the error of the four data types below.",
        "quantize",
        "quantize-block-size",
    ),
    (
        "Where the memory goes",
        "Choose LoRA or full finetuning instead of QLoRA and see which card still fits.",
        "memory",
        "memory-own",
    ),
    (
        "A real run, here",
        "This button trains a real model on this machine. The first loss comes after seconds; stop whenever you like.",
        "finetune",
        "finetune-start",
    ),
    (
        "Pages that step aside",
        "Play the recorded run: when a long text needs room, optimizer pages leave the device, and they come back.",
        "paging",
        "paging-player",
    ),
    (
        "Ask the paper",
        "Ask what you are not sure of. Each sentence of an answer shows the page where it stands.",
        "ask",
        "ask-question",
    ),
)
