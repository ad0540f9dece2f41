"""Training: packed blocks in, a Hugging Face folder or a PEFT adapter out; exact and resumable."""
