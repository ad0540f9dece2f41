"""One file a kind of stage: what it is made of, what it is expected to give, and how it is made, alone or many at a time."""
