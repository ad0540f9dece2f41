"""Engines answer prompts, whatever these are about: settings and rows in, completions out."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from msm_ray.engines import EngineSettings, carried
from msm_ray.engines.endpoint.requests import response_format
from msm_ray.engines.replay import recorded_answer

SCHEMA = json.dumps({"type": "object", "properties": {"harmful": {"type": "boolean"}}, "required": ["harmful"]})
ROW = {"id": "a", "temperature": 0.5, "top_p": 1.0, "max_tokens": 9, "type": "letter"}


def test_engines_know_nothing_of_what_they_are_asked_about() -> None:
    known = set()
    for file in Path("msm_ray/engines").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("msm_ray."):
                known.add(str(node.module).split(".")[1])
    assert known <= {"engines", "errors", "failures", "own_objects", "placement", "rows", "storage", "whole_files"}


def test_a_schema_reaches_an_endpoint_in_openais_form() -> None:
    asked = response_format(SCHEMA)["response_format"]
    assert asked["type"] == "json_schema" and asked["json_schema"]["schema"] == json.loads(SCHEMA)


def test_what_was_for_the_engine_ends_there_and_the_rest_is_carried_along() -> None:
    asked = ROW | {"messages": [], "prompt": "", "json_schema": ""}
    assert carried(asked) == {"id": "a", "type": "letter"}


def test_a_recording_changes_the_columns_that_it_may_and_no_others() -> None:
    found = {"completion": "Dear Ruth", "type": "email", "id": "b"}
    assert recorded_answer(ROW, found)["type"] == "letter"
    changed = recorded_answer(ROW, found, ("type",))
    assert (changed["type"], changed["id"], changed["completion"]) == ("email", "a", "Dear Ruth")


def test_what_writes_is_named_by_its_model_or_by_itself() -> None:
    assert EngineSettings(engine="vllm", model="hub/Qwen3-8B/").generator == "Qwen3-8B"
    assert EngineSettings(engine="offline", model="base").generator == "offline"
