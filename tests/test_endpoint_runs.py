"""Whole stages through Ray over addresses whose credentials expire, which never answer, or which take batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from batch_server import batch_server
from document_jobs import document_job
from endpoint_server import READ, WRITTEN, Reply, Request, answer_to, endpoint, refusal

from msm_ray.engines.open import Engines
from msm_ray.engines.spending import Spending
from msm_ray.errors import OutOfMeans, StageError
from msm_ray.generate.document_job import DocumentJob
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.generate.documents import write_all_documents
from msm_ray.generate.written import document_counts
from msm_ray.placement.settings import GenerationSettings
from msm_ray.spec import AssistantSettings, read_spec

pytestmark = pytest.mark.real
TEXT = "<scratchpad>a plan</scratchpad><content>Ada likes what is made at home.</content>"
WORKERS = GenerationSettings(workers=2)


def job(out: Path, address: str, **more: Any) -> DocumentJob:
    said: dict[str, Any] = {
        "by": "headings", "documents": 40, "engine": "endpoint", "url": address, "model": "m", "key_variable": "TEST_KEYS",
        "sampling": {"max_tokens": 50}, "batch_size": 4, "in_flight": 2,
    }  # fmt: skip
    spec = read_spec(Path("specs/tinyworld/american.md"), AssistantSettings(name="Ada"))
    out.mkdir(exist_ok=True)
    return document_job(out, spec, DocumentSettings.model_validate(said | more), "m")


@pytest.mark.timeout(240)
def test_credentials_that_expire_in_the_middle_end_a_run_and_new_ones_go_on(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def says(request: Request) -> Reply | None:
        if request.key != "key-three" and request.of_key > 12:
            return refusal(401, f"the token {request.key} has expired")
        return Reply(200, answer_to(request.body, TEXT))

    with endpoint(says) as server:
        monkeypatch.setenv("TEST_KEYS", "key-one, key-two")
        with pytest.raises(OutOfMeans, match=r"refuses to go on: HTTP 401.*\[key\] has expired.*TEST_KEYS") as told:
            write_all_documents([job(tmp_path / "out", server.address)], Engines(WORKERS))
        assert "key-one" not in str(told.value) and "key-two" not in str(told.value)
        kept = document_counts(job(tmp_path / "out", server.address))["documents"]
        assert kept == len(server.answered) == 24
        monkeypatch.setenv("TEST_KEYS", "key-three")
        counts = write_all_documents([job(tmp_path / "out", server.address)], Engines(WORKERS))[0]
        assert counts["documents"] == 40 and len(server.answered) == 40  # nothing was asked for twice


@pytest.mark.timeout(240)
def test_a_model_that_never_answers_ends_with_what_to_do(ray_cluster: None, tmp_path: Path) -> None:
    with endpoint(seconds=60) as server:
        made = job(tmp_path / "out", server.address, no_progress_minutes=0.1)
        with pytest.raises(
            StageError, match="made no progress for 0.1 minutes.*What is written is safe, the same command"
        ):
            write_all_documents([made], Engines(WORKERS))
        assert 0 < len(server.requests) <= 16


@pytest.mark.timeout(240)
def test_a_stage_is_written_by_batches_and_within_its_limit(ray_cluster: None, tmp_path: Path) -> None:
    with batch_server(says=lambda line: Reply(200, answer_to(line["body"], TEXT))) as server:
        prices = {"input": 1.0, "output": 100.0}
        quick = {"batch": True, "batch_gather_seconds": 1, "batch_poll_seconds": 0.2, "prices": prices}
        made = job(tmp_path / "out", server.address, **quick)
        spending = Spending(tmp_path / "spend.jsonl", 1.0)
        assert write_all_documents([made], Engines(WORKERS, spending))[0]["documents"] == 40
        assert len(server.batches) == 1 and server.asked.total() == 40
    assert spending.spent() == pytest.approx(40 * (READ * 1.0 + WRITTEN * 100.0) / 1e6 / 2)
