"""What becomes of documents and chats before training: checks, deduplication, card, tokens, packing."""
