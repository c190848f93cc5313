"""LoRA adapters on a whole model: attaching them, and PEFT's files."""
