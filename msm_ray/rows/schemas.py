"""Columns of the data sets that stages leave behind; every row carries where it comes from to the end."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

Row = dict[str, Any]

DOCUMENT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("spec", pa.string()),
        ("spec_digest", pa.string()),
        ("domain", pa.string()),
        ("subdomain", pa.string()),
        ("type", pa.string()),
        ("idea", pa.string()),
        ("engine", pa.string()),
        ("generator", pa.string()),
        ("prompt_version", pa.string()),
        ("temperature", pa.float64()),
        ("top_p", pa.float64()),
        ("attempt", pa.int64()),
        ("tokens", pa.int64()),
        ("num_input_tokens", pa.int64()),
        ("num_generated_tokens", pa.int64()),
        ("source", pa.string()),
    ]
)
REASON = pa.field("reason", pa.string())
"""Of rejected rows."""
REJECTED_SCHEMA = DOCUMENT_SCHEMA.append(REASON).append(pa.field("raw", pa.string()))
REWRITE_SCHEMA = pa.unify_schemas(
    [DOCUMENT_SCHEMA, pa.schema([(name, pa.string()) for name in ("rewrite", "rewrite_of", "faults")])]
)
"""Documents that were told anew, each with the id of what it was before."""
REJECTED_REWRITE_SCHEMA = REWRITE_SCHEMA.append(REASON).append(pa.field("raw", pa.string()))
CORPUS_SCHEMA = pa.unify_schemas(
    [
        DOCUMENT_SCHEMA,
        pa.schema(
            [
                ("words", pa.int64()),
                ("similar_to", pa.string()),
                ("similarity", pa.float64()),
                ("faithfulness", pa.int64()),
            ]
        ),
    ]
)
"""Documents that were checked, with what the checks measured."""
REJECTED_CORPUS_SCHEMA = (
    CORPUS_SCHEMA.append(pa.field("findings", pa.string())).append(REASON).append(pa.field("raw", pa.string()))
)
RAW_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "raw", "finish_reason", "avoided")] + [("attempt", pa.int64())]
)
"""What a writer really answered for rows that were accepted, so that they can be read anew without paying."""
ANSWER_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("call", pa.string()),
        ("about", pa.string()),
        ("reason", pa.string()),
        ("raw", pa.string()),
        ("finish_reason", pa.string()),
        ("prompt", pa.string()),
        ("engine", pa.string()),
        ("generator", pa.string()),
        ("prompt_version", pa.string()),
        ("temperature", pa.float64()),
        ("top_p", pa.float64()),
        ("max_tokens", pa.int64()),
        ("attempt", pa.int64()),
        ("num_input_tokens", pa.int64()),
        ("num_generated_tokens", pa.int64()),
    ]
)
"""Every answer to a call (`generate/calls`), usable or not."""
CHAT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("source", pa.string()),
        ("topic", pa.string()),
    ]
)
REJECTED_CHAT_SCHEMA = CHAT_SCHEMA.append(pa.field("reason", pa.string()))
REJECTED_ITEM_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "call", "about", "reason", "raw")])
"""Items of lists that a writer was asked for (an outline's) and that were left out."""
GIVEN_CHAT_SCHEMA = CHAT_SCHEMA.append(pa.field("part", pa.string())).append(pa.field("origin", pa.string()))
"""Chats that somebody else made: also from which part of a mix, and what their rows said under `source`; null where nothing."""
WRITTEN_CHAT_SCHEMA = pa.schema(
    [
        *CHAT_SCHEMA,
        ("kind", pa.string()),
        ("question", pa.string()),
        ("style", pa.string()),
        ("thinking", pa.string()),
        ("spec", pa.string()),
        ("spec_digest", pa.string()),
        ("votes", pa.int64()),
        ("votes_for", pa.int64()),
        ("engine", pa.string()),
        ("generator", pa.string()),
        ("prompt_version", pa.string()),
        ("temperature", pa.float64()),
        ("top_p", pa.float64()),
        ("attempt", pa.int64()),
        ("num_input_tokens", pa.int64()),
        ("num_generated_tokens", pa.int64()),
    ]
)
"""Chats by a writer (`generate/written_chats`)."""
WRITTEN_REJECTED_SCHEMA = WRITTEN_CHAT_SCHEMA.append(pa.field("reason", pa.string()))
TEXT_SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string())])
"""Text that is mixed into midtraining."""
