"""What the Quantize tab says about a visitor's own weights."""

UPLOAD = "A safetensors file of yours"
TYPE = "Numbers you type"
FILE = "safetensors file, up to 512 MiB"
TENSOR = "Tensor"
NUMBERS = "Numbers, separated by spaces or commas"
EXAMPLE_NUMBERS = "0.31, -0.27, 0.05, 0.12, -0.44, 0.02, 0.19, -0.08, 0.5, -0.15, 0.07, 0.23, -0.33, 0.11, -0.02, 0.4"

UPLOADED = "“{name}” ({shape})"
ONLY_THE_FIRST = ", of which the first {count:,} of {all:,} weights"
TYPED = "your {count:,} numbers"
NOTES = {
    UPLOAD: "Your own file. It stays on the machine that serves this page, and only the chosen tensor is read.",
    TYPE: "Your own numbers, in one row. With so few, the scales weigh more than in a whole matrix.",
}
CHOICE = "{name} ({shape})"

NO_UPLOAD = "No file has been uploaded yet. Choose a .safetensors file; its tensors are offered then."
NOT_SAFETENSORS = (
    "This is not a safetensors file, or it was cut short: the length of its header does not fit the file. Choose "
    "another one."
)
LONG_HEADER = (
    "The header of this file claims {size:.0f} MiB; headers up to {most} MiB are read. Choose a file with fewer "
    "tensors."
)
TOO_LARGE = (
    "This file has {size} MiB; files up to {most} MiB are taken. Choose one shard of the model, or a smaller file."
)
BROKEN_UPLOAD = "This safetensors file cannot be read ({reason}). Choose another one."
NO_TENSORS = "None of the {count:,} tensors of this file holds weights in 16, 32 or 64 bits. Choose another file."
ODD_SHAPE = "The tensor “{name}” ({shape}) has rows too long to be shown. Choose another one."

NO_NUMBERS = "Type at least one number that is not zero, for example 0.3, −1.2, 0.05."
NOT_A_NUMBER = "Number {place}, “{piece}”, is not a number. Use digits with a decimal point, separated by spaces."
NOT_A_FINITE_NUMBER = "Number {place}, “{piece}”, does not fit into 32 bits. Use a smaller one."
TOO_MANY_NUMBERS = "At most {most:,} numbers can be typed. Upload a safetensors file for more."
