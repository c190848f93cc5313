"""What a finetune costs in bytes: from shapes alone, before anything is loaded. Standard library only."""
