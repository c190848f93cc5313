"""What a model can do: perplexity, multiple choice, generated text beside references, and lm-eval's tasks."""
