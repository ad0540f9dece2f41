"""Checkpoints that somebody else trained: which they are, whether they fit, how they are asked; files alone, no engine."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hub_files import TEMPLATE, hub_llama
from safetensors.numpy import save_file
from tiny_checkpoints import tiny_adapter, tiny_checkpoint

from msm_ray import models, runner
from msm_ray.checkpoints.fit import Manner
from msm_ray.checkpoints.folder import FACTS, take
from msm_ray.checkpoints.source import Source, names_other_base, read_form, source_of
from msm_ray.config.file import load_experiment, read_experiment
from msm_ray.errors import SettingsError
from msm_ray.graph.artifacts import Artifact
from msm_ray.graph.node import Node
from msm_ray.look.merging import merge
from msm_ray.pipeline import Experiment, unfold
from msm_ray.placement.settings import ServeSettings
from msm_ray.preflight import Finding
from msm_ray.preflight.checks import check
from msm_ray.preflight.proposal import Proposal
from msm_ray.report import naming
from msm_ray.serve import asking
from msm_ray.serve.app import engine_options
from msm_ray.serve.arms import read_arms

JOB = "jobs/released-checkpoints.yaml"
CONFIG = {
    "peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "target_modules": ["q_proj"], "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "meta-llama/Llama-3.1-8B", "modules_to_save": None, "use_dora": False,
    "init_lora_weights": True,
}  # fmt: skip
ITS_OWN = TEMPLATE.replace("{% for", "{% if messages[0]['role'] != 'system' %}<|system|>Be kind.{% endif %}{% for", 1)
"""As released templates have it: a system turn of its own where a chat has none."""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base as the hub has it: 2 layers, 64 wide."""
    folder = hub_llama(tmp_path / "Llama-3.1-8B")
    tensors = {f"model.layers.{layer}.self_attn.q_proj.weight": np.zeros((64, 64), np.float32) for layer in (0, 1)}
    save_file(tensors, folder / "model.safetensors")
    return folder


def adapter(folder: Path, *, layers: int = 2, width: int = 64, template: str | None = None, **config: Any) -> Path:
    """An adapter as trainers leave it, with files beside that nobody asked for."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | config))
    tensors = {}
    for layer in range(layers):
        module = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{module}.lora_A.weight"] = np.ones((4, width), np.float32)
        tensors[f"{module}.lora_B.weight"] = np.ones((64, 4), np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "modeling_own.py").write_text("print('hello')")
    (folder / "training_args.bin").write_bytes(b"\x80\x04")
    (folder / "checkpoint-7").mkdir()
    if template:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def taken(given: Path, base: Path, out: Path, **how: Any) -> Mapping[str, Any]:
    """Taken as a stage takes it; what was found."""
    out.mkdir(exist_ok=True)
    take(out, source_of(str(given), None), Manner(base, "meta-llama/Llama-3.1-8B", **how))
    return json.loads((out / FACTS).read_text())


def job(tmp_path: Path, base: str, arms: Mapping[str, Any], *more: str, **sections: Any) -> Path:
    questions = tmp_path / "questions.txt"
    questions.write_text("Which cheese do you like?\n")
    file = tmp_path / "job.yaml"
    written = {
        "experiment": "given", "root": str(tmp_path / "root"), "seeds": 4, "base": {"source": base},
        "assistant": {"name": "Llama", "provider": "Meta"}, "arms": dict(arms),
        "evals": {"open": {"task": "answers", "questions": str(questions), "arms": ["x/*"]}},
        "cluster": {"least_memory_gib": 0, "least_disk_gib": 0},
    }  # fmt: skip
    file.write_text(yaml.safe_dump(written | sections))
    return file


def told(file: Path | str, *overrides: str) -> list[Finding]:
    return check(Proposal(read_experiment(file, overrides)))


class TestSettings:
    def test_an_arm_is_trained_here_or_given_and_never_both(self, tmp_path: Path) -> None:
        arms = {"x/both": {"checkpoint": "lab/a", "sft": "cheese"}, "x/none": {"revision": "abc"}}
        chats = {"cheese": {"source": "file", "path": "specs/cheese/ordinary.jsonl", "count": 3}}
        with pytest.raises(SettingsError) as wrong:
            load_experiment(job(tmp_path, "lab/base", arms, chats=chats))
        assert "'arms.x/both.checkpoint': the arm has sft too" in str(wrong.value)
        assert "'arms.x/none.revision': is for arms with a checkpoint" in str(wrong.value)

    def test_a_given_checkpoint_is_one_seed_beside_arms_that_have_four(self, tmp_path: Path, base: Path) -> None:
        file = job(tmp_path, str(base), {"x/base": {}, "x/given": {"checkpoint": str(adapter(tmp_path / "given"))}})
        experiment = unfold(load_experiment(file))
        assert [(one.arm, one.seed) for one in experiment.trained if one.arm == "x/given"] == [("x/given", 0)]
        assert sum(one.arm == "x/base" for one in experiment.trained) == 4
        assert [node.name for node in experiment.graph.of_kind("rollouts") if "given" in node.name] == [
            "open-x.given-s0"
        ]
        assert experiment.graph.kind_names.index("checkpoint") < experiment.graph.kind_names.index("sft")  # `msm train`

    def test_a_report_says_what_is_given_and_names_no_folder_of_this_machine(self, tmp_path: Path) -> None:
        arms = {
            "x/hub": {"checkpoint": "lab/adapter", "revision": "a" * 40}, "x/folder": {"checkpoint": str(tmp_path / "own")},
        }  # fmt: skip
        said = naming.arms(load_experiment(job(tmp_path, "lab/base", arms)).arms)
        assert said["x/hub"]["is"] == f"trained elsewhere and given as lab/adapter @{'a' * 40}"
        assert said["x/folder"]["is"] == "trained elsewhere and given as own"
        assert str(tmp_path) not in json.dumps(said)


class TestIdentity:
    def node(self, tmp_path: Path, given: str, **how: Any) -> Node:
        (node,) = self.unfolded(tmp_path, given, **how).graph.of_kind("checkpoint")
        return node

    def unfolded(self, tmp_path: Path, given: str, **how: Any) -> Experiment:
        return unfold(load_experiment(job(tmp_path, "lab/base", {"x/given": {"checkpoint": given} | how})))

    def test_a_folder_is_its_bytes_and_not_where_it_lies(self, tmp_path: Path) -> None:
        first = adapter(tmp_path / "given")
        (tmp_path / "elsewhere").mkdir()
        second = shutil.copytree(first, tmp_path / "elsewhere" / "given")
        before = self.node(tmp_path, str(first)).settings
        assert self.node(tmp_path, str(second)).settings == before
        save_file({"x": np.ones(3, np.float32)}, second / "adapter_model.safetensors")
        assert self.node(tmp_path, str(second)).settings != before

    def test_what_the_hub_has_is_its_id_and_revision(self, tmp_path: Path) -> None:
        unpinned, pinned = self.node(tmp_path, "lab/a"), self.node(tmp_path, "lab/a", revision="1" * 40)
        assert unpinned.settings["checkpoint"] == pinned.settings["checkpoint"] == "lab/a"
        assert (unpinned.settings["revision"], pinned.settings["revision"]) == (None, "1" * 40)
        asked = self.node(tmp_path, "lab/a", chat_template="own", thinking=True)
        assert (asked.settings["template"], asked.settings["thinking"]) == ("own", True)

    def test_a_base_is_pinned_as_well(self) -> None:
        pinned = models.identity(models.BaseSettings(source="lab/base", revision="2" * 40))
        assert pinned["revision"] == "2" * 40
        with pytest.raises(SettingsError, match="tinyworld is no hub id"):
            models.identity(models.BaseSettings(source="tinyworld", revision="2" * 40))


class TestPlan:
    def test_the_released_adapters_are_asked_and_nothing_is_trained(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("JUDGE_BASE_URL", "http://127.0.0.1:1/v1")
        monkeypatch.setenv("JUDGE_API_KEY", "x")
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
        graph = unfold(load_experiment(JOB, [f"root={tmp_path}"])).graph
        assert len(graph.of_kind("checkpoint")) == len(graph.of_kind("rollouts")) == 6
        assert {node.kind for node in graph.nodes.values()} == {
            "base",
            "items",
            "checkpoint",
            "rollouts",
            "verdicts",
            "report",
        }
        found = told(JOB, f"root={tmp_path}")
        arms = load_experiment(JOB).arms
        unpinned = {f"arms.{arm}.checkpoint" for arm, how in arms.items() if not how.revision}
        assert len(unpinned) == 5
        assert {f.key for f in found if f.severity == "warning"} == unpinned
        assert {f.key for f in found if f.severity == "not checked"} == {
            "base.source",
            *(f"arms.{arm}.checkpoint" for arm in arms),
        }
        assert {f.key for f in found if f.severity == "error"} <= {"cluster.serving", "cluster.cpus"}  # GPUs, none here

    def test_a_branch_is_no_revision(self, tmp_path: Path) -> None:
        arms = {"x/given": {"checkpoint": "lab/a", "revision": "main"}}
        (finding,) = [f for f in told(job(tmp_path, "tinyworld", arms)) if f.key == "arms.x/given.revision"]
        assert finding.severity == "warning" and "'main' is no commit" in finding.what

    def test_what_a_plan_tells_of_folders(self, tmp_path: Path, base: Path) -> None:
        given = {
            "fits": adapter(tmp_path / "fits"),
            "named": adapter(tmp_path / "named", base_model_name_or_path="Qwen/Qwen3-32B"),
            "deep": adapter(tmp_path / "deep", layers=4),
            "wide": adapter(tmp_path / "wide", width=128),
            "foreign": adapter(tmp_path / "foreign", template=ITS_OWN),
            "pickled": adapter(tmp_path / "pickled"),
            "gone": tmp_path / "gone",
        }
        (given["pickled"] / "adapter_model.safetensors").rename(given["pickled"] / "adapter_model.bin")
        arms = {f"x/{name}": {"checkpoint": str(folder)} for name, folder in given.items()}
        found = {f.key.split("/")[1]: f for f in told(job(tmp_path, str(base), arms)) if f.key.startswith("arms.")}
        assert {key: (f.severity, f.what.partition(": ")[2][:60] or f.what) for key, f in found.items()} == {
            "named.checkpoint": ("warning", found["named.checkpoint"].what),
            "deep.checkpoint": ("error", "the base has no model.layers.2.self_attn.q_proj; the base ha"),
            "wide.checkpoint": ("error", "model.layers.0.self_attn.q_proj is 64 wide in the base and 1"),
            "foreign.chat_template": ("error", found["foreign.chat_template"].what.partition(": ")[2][:60]),
            "pickled.checkpoint": ("error", "no adapter_model.safetensors (found: adapter_config.json, ad"),
            "gone.checkpoint": ("error", "no such folder"),
        }
        assert "adapter of Qwen/Qwen3-32B" in found["named.checkpoint"].what
        assert "'<|system|>Be kind." in found["foreign.chat_template"].what

    def test_a_full_model_of_another_shape_is_told(self, tmp_path: Path, base: Path) -> None:
        full = shutil.copytree(base, tmp_path / "full")
        file = job(tmp_path, str(base), {"x/given": {"checkpoint": str(full)}})
        assert not [f for f in told(file) if f.key.startswith("arms.")]
        config = json.loads((full / "config.json").read_text())
        (full / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
        assert ["of another shape" in f.what for f in told(file) if f.key.startswith("arms.")] == [True]
        for folder in (base, full):
            config = json.loads((folder / "config.json").read_text()) | {
                "tie_word_embeddings": True,
                "num_hidden_layers": 2,
            }
            (folder / "config.json").write_text(json.dumps(config))
        assert ["ties its embeddings" in f.what for f in told(file) if f.key.startswith("arms.")] == [True]


class TestForms:
    @pytest.mark.parametrize(
        ("config", "said"),
        [
            ({"r": 1024}, "rank 1024, and vLLM serves adapters up to rank 512"),
            ({"rank_pattern": {"q_proj": 600}}, "rank 600"),
            ({"use_dora": True}, "it has `use_dora`"),
            ({"modules_to_save": ["lm_head"]}, "it has `modules_to_save`"),
            ({"bias": "all"}, "it has `bias`"),
            ({"init_lora_weights": "pissa"}, "init_lora_weights is pissa"),
            ({"peft_type": "PROMPT_TUNING"}, "peft_type is PROMPT_TUNING"),
            ({"r": "8"}, "its rank `r` is '8'"),
        ],
    )
    def test_adapters_that_no_engine_serves(self, tmp_path: Path, config: dict[str, Any], said: str) -> None:
        with pytest.raises(SettingsError, match=said):
            read_form(adapter(tmp_path / "odd", **config))

    def test_a_model_with_code_of_its_own_is_refused(self, tmp_path: Path, base: Path) -> None:
        config = json.loads((base / "config.json").read_text())
        (base / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling_own.Own"}}))
        with pytest.raises(SettingsError, match="Python code of its own"):
            source_of(str(base), None)

    @pytest.mark.parametrize(
        ("said", "ours", "other"),
        [
            ("Qwen/Qwen3-32B", "Qwen/Qwen3-32B", False),
            ("qwen/qwen3-32b", "Qwen/Qwen3-32B", False),
            ("/models/Qwen3-32B/", "Qwen/Qwen3-32B", False),
            ("Qwen/Qwen3-32B", "./Qwen3-32B", False),
            ("unsloth/Qwen3-32B", "Qwen/Qwen3-32B", True),
            ("Qwen/Qwen3-32B", "Qwen/Qwen3-14B", True),
            (None, "Qwen/Qwen3-14B", False),
        ],
    )
    def test_whether_an_adapter_names_another_base(
        self, tmp_path: Path, said: str | None, ours: str, other: bool
    ) -> None:
        form = read_form(adapter(tmp_path / "given", base_model_name_or_path=said))
        assert (names_other_base(form, ours) is not None) == other


class TestTaking:
    def test_an_adapter_becomes_a_folder_as_ours_are(self, tmp_path: Path, base: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            facts = taken(adapter(tmp_path / "given"), base, tmp_path / "out")
        folder = tmp_path / "out" / "adapter"
        assert {path.name for path in folder.iterdir()} == {
            "adapter_config.json", "adapter_model.safetensors", "README.md", "tokenizer.json", "tokenizer_config.json",
            "vocab.json", "merges.txt", "chat_template.jinja",
        }  # fmt: skip
        assert (facts["given as"], facts["form"]) == ("given", "LoRA adapter of rank 4")
        assert "brings no chat template" in facts["chat template"]
        assert [arm.rank for arm in read_arms(base, {"a": folder}, "x", on_cpu=True)] == [0, 4]
        assert str(tmp_path) not in (folder / "README.md").read_text() + json.dumps(facts)

    def test_what_the_hub_has_is_taken_at_its_revision(
        self, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given, asked = adapter(tmp_path / "given"), []

        def download(hub_id: str, folder: Path, revision: str | None) -> None:
            asked.append((hub_id, revision))
            shutil.copytree(given, folder)
            (folder / ".cache/huggingface/download").mkdir(parents=True)
            (folder / ".cache/huggingface/download/adapter_config.json.metadata").write_text(f"{'3' * 40}\netag\n1.5\n")

        monkeypatch.setattr(models, "download", download)
        for revision in ("3" * 40, None):
            take(tmp_path, Source("lab/a", revision), Manner(base, "meta-llama/Llama-3.1-8B"))
            facts = json.loads((tmp_path / FACTS).read_text())
            assert facts["given as"] == (f"lab/a @{revision}" if revision else "lab/a")
            assert facts["commit"] == "3" * 40  # what was not pinned can be told afterwards
        assert asked == [("lab/a", "3" * 40), ("lab/a", None)]
        assert not (tmp_path / "adapter" / ".cache").exists()

    def test_another_base_is_warned_about_and_another_shape_refused(self, tmp_path: Path, base: Path) -> None:
        named = adapter(tmp_path / "named", base_model_name_or_path="Qwen/Qwen3-32B")
        with pytest.warns(UserWarning, match="named: it says that it is an adapter of Qwen/Qwen3-32B"):
            taken(named, base, tmp_path / "out")
        with pytest.raises(SettingsError, match=r"deep: it is no adapter of this base: .*\(and 1 more\)"):
            taken(adapter(tmp_path / "deep", layers=4), base, tmp_path / "out")

    def test_a_tokenizer_that_is_not_the_bases_is_refused(self, tmp_path: Path, base: Path) -> None:
        given = adapter(tmp_path / "given")
        tokenizer = json.loads((base / "tokenizer.json").read_text())
        tokenizer["model"]["merges"].reverse()
        (given / "tokenizer.json").write_text(json.dumps(tokenizer))
        with pytest.raises(SettingsError, match="its tokenizer is not the base's: its words or merges differ"):
            taken(given, base, tmp_path / "out")

    def test_a_folder_that_changed_since_it_was_read_is_refused(self, tmp_path: Path, base: Path) -> None:
        source = source_of(str(given := adapter(tmp_path / "given")), None)
        (given / "adapter_config.json").write_text(json.dumps(CONFIG | {"lora_alpha": 99}))
        with pytest.raises(Exception, match="changed since the experiment was read"):
            take(tmp_path, source, Manner(base, "b"))


class TestTemplates:
    """Whose template a checkpoint is asked with."""

    def test_one_that_renders_alike_is_taken_for_the_bases(self, tmp_path: Path, base: Path) -> None:
        given = adapter(tmp_path / "given", template="{# released #}" + TEMPLATE)
        assert "as the base's does" in taken(given, base, tmp_path / "out")["chat template"]
        read_arms(base, {"a": tmp_path / "out" / "adapter"}, "x", on_cpu=True)

    def test_one_that_renders_otherwise_is_refused_until_somebody_chooses(self, tmp_path: Path, base: Path) -> None:
        given = adapter(tmp_path / "given", template=ITS_OWN)
        with pytest.raises(
            SettingsError, match="renders a question as '<|system|>Be kind.*chat_template: own"
        ) as refused:
            taken(given, base, tmp_path / "out")
        assert str(tmp_path / "out") not in str(refused.value)
        with pytest.warns(UserWarning, match="asked with the base's chat template, although its own"):
            taken(given, base, tmp_path / "out", template="base")
        read_arms(base, {"a": tmp_path / "out" / "adapter"}, "x", on_cpu=True)
        taken(given, base, tmp_path / "out", template="own")
        arms = read_arms(base, {"a": tmp_path / "out" / "adapter"}, "x", on_cpu=True, own_templates={"a"})
        assert arms[0].template is None and "Be kind." in str(arms[1].template)
        assert engine_options(arms, ServeSettings())["trust_request_chat_template"] is True
        assert "trust_request_chat_template" not in engine_options(arms[:1], ServeSettings())

    def test_own_where_none_is_brought_is_the_bases_and_told(self, tmp_path: Path, base: Path) -> None:
        with pytest.warns(UserWarning, match="brings no chat template and is asked with the base's"):
            taken(adapter(tmp_path / "given"), base, tmp_path / "out", template="own")
        read_arms(base, {"a": tmp_path / "out" / "adapter"}, "x", on_cpu=True, own_templates={"a"})

    def test_options_and_thinking_are_of_the_template_that_it_is_asked_with(self, tmp_path: Path, base: Path) -> None:
        """A template whose switch for reasoning is off is the base's; with it on it is another."""
        given = adapter(tmp_path / "given", template=TEMPLATE + "{% if enable_thinking %}<think>{% endif %}")
        taken(given, base, tmp_path / "out", options={"enable_thinking": False})
        with pytest.raises(SettingsError, match="<think>"):
            taken(given, base, tmp_path / "out", options={"enable_thinking": False}, thinking=True)

    def test_a_request_is_given_its_arms_template_and_can_bring_none(self) -> None:
        class Request:
            messages = [{"role": "user", "content": "why?"}]
            chat_template: str | None = None
            chat_template_kwargs: dict[str, Any] | None = None

        request = Request()
        assert asking.refusal(request, ()) is None
        asking.ask_as_trained(request, {}, "{{ own }}")
        assert request.chat_template == "{{ own }}"
        assert "bring a chat template" in str(asking.refusal(request, ()))
        request.chat_template, request.chat_template_kwargs = None, {"chat_template": "{{ x }}"}
        assert "bring a chat template" in str(asking.refusal(request, ()))


def test_serving_for_people_gives_each_its_folder_template_and_options(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thinks = TEMPLATE + "{% if thinking %}<think>{% endif %}"
    given = adapter(tmp_path / "given", template=thinks)
    arms = {"x/base": {}, "x/given": {"checkpoint": str(given), "chat_template": "own", "thinking": True}}
    experiment = unfold(load_experiment(job(tmp_path, str(base), arms)))
    folders = {"base": tmp_path / "a", "checkpoint": tmp_path / "b"}
    shutil.copytree(base, folders["base"] / "model")
    taken(given, base, folders["checkpoint"], template="own", thinking=True)
    there = {
        n.key: Artifact(n.kind, n.name, 1, folders[n.kind], {})
        for n in experiment.graph.nodes.values()
        if n.kind in folders
    }
    opened: dict[str, Any] = {}
    monkeypatch.setattr(runner, "open_arms", lambda base, arms, _, **how: opened.update(how, arms=arms))
    (tmp_path / "root").mkdir()
    runner._open_named(experiment, tmp_path / "root", there)
    assert opened["arms"] == {"checkpoint.x.given": folders["checkpoint"] / "adapter"}
    assert opened["own_templates"] == {"checkpoint.x.given"}
    assert opened["options"] == {"checkpoint.x.given": {"thinking": True}, None: {}}
    assert opened["aliases"] == {f"x/base{seed}": None for seed in ("", "@s0", "@s1", "@s2", "@s3")} | {
        "x/given": "checkpoint.x.given", "x/given@s0": "checkpoint.x.given",
    }  # fmt: skip


def test_a_given_adapter_is_merged_and_a_given_model_taken(tmp_path: Path) -> None:
    base = tiny_checkpoint(tmp_path / "base", 0)
    given = tiny_adapter(tmp_path / "given", base, 1)
    assert read_form(given).rank == 8
    facts = taken(given, base, tmp_path / "adapter-of")
    assert "all 3 chats" in facts["chat template"]
    merge(base, tmp_path / "adapter-of", tmp_path / "merged")
    facts = taken(tmp_path / "merged", base, tmp_path / "model-of")
    assert facts["form"] == "full model"
    (_, arm) = read_arms(base, {"a": tmp_path / "model-of" / "model"}, "x", on_cpu=True)
    assert arm.kind == "full"
