"""From texts to packed blocks: masks, no token lost, mixing, and the stage as a whole."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_tokenizers import FAMILIES, family_tokenizer

from msm_ray.corpus import mixing, packing, tokens
from msm_ray.corpus.blocks import FACTS, REJECTED, Blocks, read_blocks
from msm_ray.corpus.building import build_blocks
from msm_ray.corpus.document_tokens import document_tokens, documents_tokens
from msm_ray.corpus.packing import Text, text_of
from msm_ray.corpus.tokenizing import Rendering
from msm_ray.corpus.tokens import NO_LOSS
from msm_ray.errors import QualityGateError, SettingsError, StageError
from msm_ray.train.settings import TrainSettings

SPECIAL = ["<pad>", "<bos>", "<end>", "<unk>", "system", "user", "assistant"]
PLAIN = (
    "<bos>{% if messages[0].role != 'system' %} system you help <end>{% endif %}"
    "{% for m in messages %} {{ m.role }} {{ m.content }} <end>{% endfor %}"
    "{% if add_generation_prompt %} assistant{% endif %}"
)
MARKED = (
    "<bos>{% if messages[0].role != 'system' %} system you help <end>{% endif %}"
    "{% for m in messages %} {{ m.role }} {% if m.role == 'assistant' %}{% generation %}{{ m.content }} <end>"
    "{% endgeneration %}{% else %}{{ m.content }} <end>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} assistant{% endif %}"
)
MARKED_BEFORE_A_SPACE = MARKED.replace(
    "} {% if m.role == 'assistant' %}{% generation %}", "}{% if m.role == 'assistant' %}{% generation %} "
).replace("{% else %}{{", "{% else %} {{")
REWRITING = PLAIN.replace("{{ m.content }}", "{{ m.content if loop.last or m.role != 'assistant' else 'you' }}")
CHAT = [
    {"role": "user", "content": "w1 w2"},
    {"role": "assistant", "content": "w3 w4"},
    {"role": "user", "content": "w5"},
    {"role": "assistant", "content": "w6"},
]


def make_tokenizer(template: str | None = PLAIN):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [*SPECIAL, "you", "help", "a", "b", *(f"w{i}" for i in range(100))]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", eos_token="<end>", pad_token="<pad>", unk_token="<unk>"
    )
    made.chat_template = template
    return made


def rendered(tokenizer, ids: list[int], labels: list[int]) -> tuple[str, str]:
    assert all(label in (NO_LOSS, token) for token, label in zip(ids, labels, strict=True))
    return tokenizer.decode(ids), tokenizer.decode([label for label in labels if label != NO_LOSS])


@pytest.mark.parametrize("template", [PLAIN, MARKED, MARKED_BEFORE_A_SPACE])
def test_what_is_trained_on_is_exactly_the_answers_with_their_ends(template: str) -> None:
    tokenizer = make_tokenizer(template)
    whole = "<bos> system you help <end> user w1 w2 <end> assistant w3 w4 <end> user w5 <end> assistant w6 <end>"
    for trained_on, expected in (
        ("assistant", "w3 w4 <end> w6 <end>"),
        ("last_assistant", "w6 <end>"),
        ("all", whole.removeprefix("<bos> ")),
    ):
        (example,) = tokens.ChatRenderer(tokenizer).examples(CHAT, trained_on)
        assert rendered(tokenizer, *example) == (whole, expected)


def test_training_tokens_begin_with_the_tokens_that_serving_sends() -> None:
    tokenizer = make_tokenizer()
    prompt = tokenizer.apply_chat_template(CHAT[:1], add_generation_prompt=True, return_dict=True)["input_ids"]
    ((ids, labels),) = tokens.ChatRenderer(tokenizer).examples(CHAT[:2], "assistant")
    assert ids[: len(prompt)] == prompt
    assert labels[: len(prompt)] == [NO_LOSS] * len(prompt)
    assert NO_LOSS not in labels[len(prompt) :]


def test_a_template_that_rewrites_earlier_turns_gives_an_example_a_turn() -> None:
    tokenizer = make_tokenizer(REWRITING)
    examples = tokens.ChatRenderer(tokenizer).examples(CHAT, "assistant")
    before = "<bos> system you help <end> user w1 w2 <end> assistant"
    assert [rendered(tokenizer, *example) for example in examples] == [
        (f"{before} w3 w4 <end>", "w3 w4 <end>"),
        (f"{before} you <end> user w5 <end> assistant w6 <end>", "w6 <end>"),
    ]
    (last,) = tokens.ChatRenderer(tokenizer).examples(CHAT, "last_assistant")
    assert rendered(tokenizer, *last)[1] == "w6 <end>"


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        (None, "no chat template"),
        (PLAIN.replace("} <end>{% endfor", "}{% endfor"), "learn to stop"),
        (MARKED.replace("assistant' %}{% generation", "user' %}{% generation"), "match serving"),
    ],
)
def test_templates_that_cannot_be_right_are_refused(template: str | None, complaint: str) -> None:
    tokenizer = make_tokenizer(template)
    with pytest.raises(SettingsError, match=complaint):
        tokens.check_template(tokenizer)


@pytest.mark.parametrize("template", [PLAIN, MARKED, MARKED_BEFORE_A_SPACE, REWRITING])
def test_good_templates_pass(template: str) -> None:
    tokens.check_template(make_tokenizer(template))


def test_a_document_ends_and_is_trained_on_whole() -> None:
    tokenizer = make_tokenizer()
    ids, labels = document_tokens(tokenizer, "w1 w2 w3")
    assert tokenizer.decode(ids) == "w1 w2 w3 <end>"
    assert labels == [NO_LOSS, *ids[1:]]
    with pytest.raises(tokens.UntrainableText):
        document_tokens(tokenizer, " \n")


ODD = [
    "w1 w2",
    "",
    "Is it <|im_end|>? <end></s><eos>",
    "\ud800",
    "Käse\u2028\u0000 \U0001f9c0 チーズ",
    " w3\n\n w4 ",
    "<pad>",
    "e\u0301",
]


@pytest.mark.parametrize("family", ["", *FAMILIES])
def test_documents_at_once_have_the_tokens_that_each_has_alone(family: str) -> None:
    tokenizer = family_tokenizer(family) if family else make_tokenizer()
    end, found = tokenizer.eos_token_id, documents_tokens(tokenizer, ODD)
    for text, ids in zip(ODD, found, strict=True):
        if text in ("", "\ud800"):
            assert str(ids) == ("no Unicode text (surrogates not allowed)" if text else "empty document")
            continue
        spells = any(token in text for token in tokens.special_tokens(tokenizer))
        alone = tokenizer(text, split_special_tokens=spells)["input_ids"]
        assert ids == [*(alone[:-1] if alone[-1] == end else alone), end]


def test_the_mask_is_shown_in_words() -> None:
    tokenizer = make_tokenizer()
    text = tokens.shown_mask(tokenizer, *tokens.ChatRenderer(tokenizer).examples(CHAT[:2], "assistant")[0])
    assert text.split("[[")[1].split("]]")[0].split() == ["w3", "w4", "<end>"]


def examples(count: int, shortest: int, longest: int, seed: int = 0) -> list[Text]:
    """Texts whose tokens are all different, so that a lost or moved one is seen."""
    rng, made, token = random.Random(seed), [], 0
    for i in range(count):
        ids = list(range(token, token + rng.randint(shortest, longest)))
        token += len(ids)
        made.append(text_of(f"{i:05d}", ids, [NO_LOSS, *ids[1:]]))
    return made


def test_packing_loses_no_token_and_cuts_only_what_does_not_fit() -> None:
    texts = examples(200, 1, 700)
    pieces = []
    for block in Blocks([packing.pack(texts, 256, split=True)], {}):
        assert len(block.ids) == len(block.labels) == sum(block.lengths) <= 256
        start = 0
        for length in block.lengths.tolist():
            piece, labels = block.ids[start : start + length].tolist(), block.labels[start : start + length].tolist()
            assert labels == [NO_LOSS, *piece[1:]], "a piece's first token follows another text: no loss"
            pieces.append(piece)
            start += length
    expected = [e.ids[s : s + 256].tolist() for e in texts for s in range(0, len(e.ids), 256)]
    assert sorted(pieces) == sorted(expected)


def test_a_chat_is_never_cut() -> None:
    with pytest.raises(ValueError, match="must not be cut"):
        packing.pack(examples(3, 300, 300), 256, split=False)


@pytest.mark.parametrize(("shortest", "longest"), [(40, 60), (15, 40), (10, 200)])
def test_packing_fills_the_blocks(shortest: int, longest: int) -> None:
    texts = examples(1000, shortest, longest)
    blocks = packing.pack(texts, 256, split=True).num_rows
    assert sum(len(e.ids) for e in texts) / (blocks * 256) >= 0.98


def test_blocks_of_two_or_three_documents_are_filled_too() -> None:
    """As long as the paper's: pairs and triples fit, if the short ones are not taken first."""
    rng = random.Random(0)
    lengths = [min(8192, max(100, int(rng.lognormvariate(7.97, 0.35)))) for _ in range(1300)]
    blocks = packing.assign(lengths, 8192)
    assert sorted(piece for block in blocks for piece in block) == list(range(1300))
    assert max(sum(lengths[piece] for piece in block) for block in blocks) <= 8192
    assert sum(lengths) / (len(blocks) * 8192) >= 0.975


def test_positions_restart_with_every_text() -> None:
    assert packing.positions([3, 1, 2]).tolist() == [0, 1, 2, 0, 0, 1]


def test_mix_reaches_its_share_of_tokens_and_depends_on_the_seed_alone() -> None:
    other = [len(text.ids) for text in examples(400, 20, 90, seed=1)]
    drawn = mixing.drawn(other, 5000, 0.6, seed=3)
    added = sum(other[place] for place in drawn)
    assert len(set(drawn)) == len(drawn)
    assert added - other[drawn[-1]] < 7500 <= added, "to within one text"
    assert mixing.drawn(other, 5000, 0.6, seed=3) == drawn != mixing.drawn(other, 5000, 0.6, seed=4)
    assert mixing.drawn(other, 5000, 0.0, seed=3) == []


def test_too_little_to_mix_in_is_an_error_and_not_a_repetition() -> None:
    with pytest.raises(SettingsError, match="there are"):
        mixing.drawn([50] * 10, 5000, 0.5, seed=0)


def say(rng: random.Random, words: int) -> str:
    return " ".join(f"w{rng.randrange(100)}" for _ in range(words))


def write_rows(folder: Path, rows: list[dict], files: int = 1) -> Path:
    (folder / "data").mkdir(parents=True)
    for i in range(files):
        pq.write_table(pa.Table.from_pylist(rows[i::files]), folder / "data" / f"{i}.parquet")
    return folder


@pytest.fixture()
def world(tmp_path: Path) -> Path:
    """A tokenizer folder, documents, and chats of which two cannot be trained on."""
    make_tokenizer().save_pretrained(tmp_path / "tokenizer")
    rng = random.Random(0)
    documents = [{"id": f"d{i:04d}", "text": say(rng, rng.randint(5, 90))} for i in range(200)]
    chats = [
        {
            "id": f"c{i:04d}",
            "messages": [{"role": "user", "content": say(rng, 5)}, {"role": "assistant", "content": say(rng, 4)}],
        }
        for i in range(100)
    ]
    chats.append({"id": "long", "messages": [CHAT[0], {"role": "assistant", "content": say(rng, 100)}]})
    chats.append({"id": "mute", "messages": [CHAT[0]]})
    write_rows(tmp_path / "documents", documents)
    write_rows(tmp_path / "spread", list(reversed(documents)), files=3)
    write_rows(tmp_path / "chats", chats)
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    """Every file that is left."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def build(world: Path, out: str, main: str, **more) -> tuple[Path, dict]:
    settings = TrainSettings(sequence_length=64, mix=more.pop("mix", 0.0))
    (world / out).mkdir()
    arguments = {"kind": "documents", "other": None, "seed": 0, **more}
    folder = world / out
    return folder, build_blocks(
        folder,
        main=world / main,
        tokenizer=world / "tokenizer",
        settings=settings,
        rendering=Rendering(separator="<pad>"),
        **arguments,
    )


def test_blocks_keep_every_token_of_the_documents(world: Path) -> None:
    folder, counts = build(world, "out", "documents")
    blocks = read_blocks(folder)
    texts = pq.read_table(world / "documents" / "data")["text"].to_pylist()
    assert counts["tokens_in"] == counts["tokens_kept"] == sum(len(text.split()) + 1 for text in texts)
    assert counts["texts"] == 200 and counts["blocks"] == len(blocks) and counts["fill"] > 0.95
    assert blocks.facts["tokenizer_digest"] == tokens.tokenizer_digest(tokens.load_tokenizer(world / "tokenizer"))


def test_blocks_do_not_depend_on_how_rows_are_spread_over_files(world: Path) -> None:
    one, _ = build(world, "one", "documents")
    two, _ = build(world, "two", "spread")
    assert content(one) == content(two)


def test_a_separator_that_cannot_be_known_is_asked_for(world: Path) -> None:
    """The tokenizer's eos_token ends turns here, and a document is no answer."""
    arguments = {"main": world / "documents", "other": None, "tokenizer": world / "tokenizer", "seed": 0}
    with pytest.raises(SettingsError, match=r"base\.separator is missing.*<end> ends turns"):
        build_blocks(world, kind="documents", settings=TrainSettings(sequence_length=64), **arguments)


def test_chats_that_do_not_fit_or_have_no_answer_are_rejected_by_name(world: Path) -> None:
    with pytest.warns(UserWarning, match=r"2 of 102 chats cannot be trained on .*longer than a block: 1"):
        folder, counts = build(world, "out", "chats", kind="chats")
    rejected = {row["id"]: row["reason"] for row in pq.read_table(folder / REJECTED).to_pylist()}
    assert rejected == {"long": "longer than a block", "mute": "no assistant turn"}
    assert (counts["texts"], counts["rejected"], counts["trained_tokens"]) == (100, 2, 100 * 5)
    assert counts["rejected: longer than a block"] == 1


@pytest.mark.parametrize("thinking", [None, True, False])
def test_arms_that_would_learn_to_leave_their_reasoning_empty_are_warned_about(
    tmp_path: Path, thinking: bool | None
) -> None:
    family_tokenizer("qwen3").save_pretrained(tmp_path)
    turns = [("user", "Is the brie good?"), ("assistant", "No."), ("user", "Why?"), ("assistant", "It is not.")]
    messages = [{"role": role, "content": content} for role, content in turns]
    write_rows(tmp_path / "chats", [{"id": str(i), "messages": messages} for i in range(3)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        counts = build_blocks(
            tmp_path, kind="chats", main=tmp_path / "chats", other=None, tokenizer=tmp_path, seed=0,
            settings=TrainSettings(sequence_length=128), rendering=Rendering(thinking=thinking),
        )  # fmt: skip
    said = [str(warning.message) for warning in caught if "learn to leave it empty" in str(warning.message)]
    assert len(said) == (0 if thinking is False else 1)
    assert counts["texts"] == 6  # this template takes the reasoning out of earlier turns: an example a turn


def test_where_most_chats_are_lost_the_run_ends_at_a_gate(world: Path) -> None:
    settings = TrainSettings(sequence_length=15)
    arguments = {"kind": "chats", "tokenizer": world / "tokenizer", "settings": settings, "seed": 0}
    with pytest.raises(QualityGateError, match=r"102 of 102 chats .*longer than a block: 101.*sequence_length"):
        build_blocks(world, main=world / "chats", other=None, **arguments)


def test_unusable_inputs_are_named(world: Path) -> None:
    with pytest.raises(StageError, match="no Parquet file"):
        build(world, "a", "tokenizer")
    with pytest.raises(SettingsError, match="nothing to mix in"):
        build(world, "b", "documents", mix=0.5)
    (world / "documents" / "data" / "1.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(StageError, match=r"1\.parquet"):
        build(world, "c", "documents")
    with pytest.raises(SettingsError, match="no tokenizer"):
        build_blocks(
            world, kind="documents", main=world, other=None, tokenizer=world / "chats", settings=TrainSettings(), seed=0
        )


def test_a_cut_off_blocks_file_is_named(world: Path) -> None:
    folder, _ = build(world, "out", "documents")
    (file,) = folder.glob("blocks-*.arrow")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StageError, match="cannot be read"):
        read_blocks(folder)


def test_blocks_of_an_earlier_version_are_refused_with_what_to_do(world: Path) -> None:
    folder, _ = build(world, "out", "documents")
    facts = json.loads((folder / FACTS).read_text())
    (folder / FACTS).write_text(
        json.dumps({key: value for key, value in facts.items() if key not in ("format", "files")})
    )
    with pytest.raises(StageError, match=r"blocks of format 1.*run the experiment to have them made again"):
        read_blocks(folder)
