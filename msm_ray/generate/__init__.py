"""From a spec to an outline, documents and chats."""
