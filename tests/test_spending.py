"""A spend limit on a real endpoint: never passed, whatever is in flight, and what was paid for is not bought again."""

from __future__ import annotations

from pathlib import Path

import pytest
from document_jobs import document_job
from loopback_server import loopback

from msm_ray.engines.open import Engines
from msm_ray.engines.spending import Spending
from msm_ray.errors import OutOfMeans, SettingsError
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.generate.documents import write_all_documents
from msm_ray.generate.written import document_counts
from msm_ray.placement.settings import GenerationSettings
from msm_ray.rows.tables import read_rows
from msm_ray.spec import AssistantSettings, read_spec

pytestmark = pytest.mark.real
READ, WRITTEN = 5, 4
"""Tokens that the server says of every answer."""
PRICES = {"input": 1.0, "output": 10_000.0}
COST = (READ * PRICES["input"] + WRITTEN * PRICES["output"]) / 1e6


@pytest.mark.timeout(240)
def test_a_limit_is_never_passed_and_what_was_paid_is_not_bought_again(ray_cluster: None, tmp_path: Path) -> None:
    spec = read_spec(Path("specs/tinyworld/american.md"), AssistantSettings(name="Ada"))
    with loopback(seconds=0.05) as server:
        server.text = "<scratchpad>a plan</scratchpad><content>Ada likes what is made at home.</content>"
        how = DocumentSettings.model_validate(
            {
                "by": "headings", "documents": 60, "engine": "endpoint", "url": server.address, "model": "stand-in",
                "sampling": {"max_tokens": 10}, "batch_size": 8, "in_flight": 8, "prices": PRICES,
            }
        )  # fmt: skip
        made = document_job(tmp_path / "out", spec, how, "stand-in")
        (tmp_path / "out").mkdir()
        limit = Spending(tmp_path / "spend.jsonl", 1.0)
        with pytest.raises(OutOfMeans, match=r"spend limit of \$1\.00 would be passed"):
            write_all_documents([made], Engines(GenerationSettings(), limit))
        paid, written = sum(server.asked.values()), document_counts(made)["documents"]
        assert paid * COST <= 1.0 and paid * COST == pytest.approx(limit.spent())
        assert paid >= 0.7 / COST  # what is held back is at most what those in flight may cost
        assert written == paid  # every answer that was paid for is kept
        more = Spending(tmp_path / "spend.jsonl", 100.0)
        assert write_all_documents([made], Engines(GenerationSettings(), more))[0]["documents"] == 60
        assert sum(server.asked.values()) == 60 and set(server.asked.values()) == {1}
        assert more.spent() == pytest.approx(60 * COST)
        assert "chat_template_kwargs" not in server.last and server.last["top_p"] == 1
    raw = list(read_rows(tmp_path / "out" / "raw"))
    assert len(raw) == 60 and all("a plan" in row["raw"] for row in raw)
    assert all("plan" not in row["text"] for row in read_rows(tmp_path / "out" / "data"))


def test_a_limit_without_prices_is_refused(ray_cluster: None, tmp_path: Path) -> None:
    spec = read_spec(Path("specs/tinyworld/american.md"), AssistantSettings(name="Ada"))
    how = DocumentSettings(by="headings", documents=3, engine="endpoint", url="http://127.0.0.1:9/v1", model="m")
    (tmp_path / "out").mkdir()
    made = document_job(tmp_path / "out", spec, how, "m")
    with pytest.raises(SettingsError, match="prices of m are not known"):
        write_all_documents([made], Engines(GenerationSettings(), Spending(tmp_path / "spend.jsonl", 5.0)))


def test_a_limit_of_nothing_is_told_before_anything_is_asked(ray_cluster: None, tmp_path: Path) -> None:
    spec = read_spec(Path("specs/tinyworld/american.md"), AssistantSettings(name="Ada"))
    with loopback() as server:
        said = {"engine": "endpoint", "url": server.address, "model": "m", "documents": 3, "by": "headings"}
        (tmp_path / "out").mkdir()
        nothing = Spending(tmp_path / "spend.jsonl", 0.0)
        how = DocumentSettings.model_validate(said | {"prices": PRICES})
        with pytest.raises(SettingsError, match="spend_limit is 0, so nothing may be spent, and m has to be paid"):
            write_all_documents(
                [document_job(tmp_path / "out", spec, how, "m")], Engines(GenerationSettings(), nothing)
            )
        assert not server.asked
        server.text = "<content>Ada likes what is made at home.</content>"
        free = DocumentSettings.model_validate(said | {"prices": {"input": 0, "output": 0}})
        made = document_job(tmp_path / "out", spec, free, "m")
        assert write_all_documents([made], Engines(GenerationSettings(), nothing))[0]["documents"] == 3
