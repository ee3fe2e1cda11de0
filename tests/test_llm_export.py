"""The exported language model is a plain Llama that says the same, given the same embeddings."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from gar_video import CheckpointError, GARVideo
from gar_video.cli import run
from gar_video.llm_export import export_language_model, prompt_embeddings


@pytest.fixture(scope="module")
def nano():
    return GARVideo.from_pretrained("nano", device="cpu")


@pytest.fixture(scope="module")
def folder(nano, tmp_path_factory):
    return export_language_model(nano, tmp_path_factory.mktemp("llm") / "llama")


@pytest.fixture(scope="module")
def llama(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def ids_of(gar, view, question):
    from gar_video.prompt import parse_question

    prompt = view.prompt()
    return prompt, gar.processor.question_ids(parse_question(question), prompt)


def test_it_is_a_plain_llama_with_the_whole_vocabulary(nano, folder, llama):
    from transformers import AutoTokenizer, LlamaForCausalLM

    config = json.loads((folder / "config.json").read_text())
    assert (config["architectures"], config["model_type"]) == (["LlamaForCausalLM"], "llama")
    assert type(llama) is LlamaForCausalLM
    assert config["vocab_size"] == nano.model.get_input_embeddings().weight.shape[0]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for token in ("<Prompt0>", "<|eot_id|>", "<|image|>"):
        assert tokenizer.convert_tokens_to_ids(token) == nano.processor._token_id(token)
    assert sorted(path.suffix for path in folder.iterdir() if "model" in path.name) == [
        ".safetensors"
    ]


def test_sixteen_greedy_tokens_are_the_pipelines(nano, llama, squares):
    """With transformers' own Llama and ``generate``; vLLM is not installed where this was made."""
    from gar_video.encoding import encode
    from gar_video.generation import Decoder

    video, tracks = squares
    llama.generation_config.eos_token_id = None  # both go on to sixteen, whatever they say
    endless = Decoder(nano.model, [])
    for ids, question in (((1,), "Describe <1>."), ((1, 2), "What do <1> and <2> do?")):
        view = nano._look(video, tracks.subset(ids), ids, ["What?"], _settings(16), None, None)
        prompt, suffix = ids_of(nano, view, question)
        encoded = encode(endless, nano.processor, prompt)
        [own] = endless.generate(encoded.cache, [suffix], _settings(16))
        embeds = prompt_embeddings(nano, prompt, suffix)
        with torch.inference_mode():
            made = llama.generate(
                inputs_embeds=embeds[None], max_new_tokens=16, do_sample=False,
                attention_mask=torch.ones(1, len(embeds), dtype=torch.long),
            )[0].tolist()  # fmt: skip
        assert len(made) == 16
        assert tuple(made) == own.token_ids


def _settings(tokens):
    from gar_video.generation import GenerationSettings

    return GenerationSettings(tokens)


class PlainLlm:
    """What the engine needs of vLLM's ``LLM``, by transformers: greedy, one prompt at a time."""

    def __init__(self, model, **settings):
        from transformers import LlamaForCausalLM

        self.settings = settings
        self.llama = LlamaForCausalLM.from_pretrained(model, dtype=torch.float32).eval()

    @torch.inference_mode()
    def generate(self, prompts, params, use_tqdm):
        assert self.settings["enable_prompt_embeds"] is True
        return [self._one(*pair) for pair in zip(prompts, params, strict=True)]

    def _one(self, prompt, params):
        embeds, tokens, told = prompt["prompt_embeds"][None], [], []
        reason = "length"
        for _ in range(params["max_tokens"]):
            chances = self.llama(inputs_embeds=embeds).logits[0, -1].log_softmax(-1)
            token = int(chances.argmax())
            tokens.append(token)
            told.append({token: SimpleNamespace(logprob=float(chances[token]))})
            if token in params["stop_token_ids"]:
                reason = "stop"
                break
            next_one = self.llama.get_input_embeddings()(torch.tensor([[token]]))
            embeds = torch.cat([embeds, next_one], 1)
        output = SimpleNamespace(
            token_ids=tokens, logprobs=told if params["logprobs"] is not None else None,
            finish_reason=reason,
        )  # fmt: skip
        return SimpleNamespace(outputs=[output])


def test_the_vllm_engine_answers_as_the_local_one(nano, squares):
    pytest.importorskip("fastapi", reason="needs gar-video[serve]")
    from gar_video.server.engine import LocalEngine
    from gar_video.server.row import Row, Wish
    from gar_video.server.vllm_engine import VllmEngine

    video, tracks = squares
    view = nano._look(video, tracks.subset([1]), (1,), ["What?"], _settings(16), None, None)
    found = []
    for engine in (LocalEngine(nano), VllmEngine(nano, PlainLlm)):
        encoded = engine.encode(view.prompt())
        rows = []
        for question in ("What color is <1>?", "Describe <1>.", "What does <1> do?"):
            _, suffix = ids_of(nano, view, question)
            wish = Wish(max_tokens=16, top_logprobs=1)
            stop = frozenset(nano.processor.stop_ids)
            rows.append(Row(suffix, wish, nano.processor.decode, stop))
        engine.answer(encoded, rows)
        asked = [("What color is <1>?", ("red", "blue"))]
        [scores] = engine.score(encoded, asked, "text")
        found.append(
            ([(row.text, row.tokens, row.finish_reason) for row in rows], scores.softmax(0),
             [chance.logprob for row in rows for chance in row.chances])
        )  # fmt: skip
        assert engine.size(encoded) > 0
        assert engine.length(encoded) > 100
    (local, local_scores, local_chances), (other, other_scores, other_chances) = found
    assert local == other
    assert torch.allclose(local_scores, other_scores, atol=1e-4)
    assert local_chances == pytest.approx(other_chances, abs=1e-3)


def test_vllm_that_is_not_there_is_said(nano):
    pytest.importorskip("fastapi", reason="needs gar-video[serve]")
    if __import__("importlib.util").util.find_spec("vllm"):
        pytest.skip("vLLM is installed")
    from gar_video.errors import GARVideoError
    from gar_video.server.vllm_engine import VllmEngine

    with pytest.raises(GARVideoError, match=r"gar-video\[vllm\]"):
        VllmEngine(nano)


def test_the_command(tmp_path, capsys, nano):
    target = tmp_path / "llama"
    assert run(["export-llm", "nano", "--out", str(target)]) == 0
    assert (target / "model.safetensors").is_file()
    assert run(["export-llm", "nano", "--out", str(target)]) == 2
    assert "not empty" in capsys.readouterr().err
    with pytest.raises(CheckpointError):
        export_language_model(nano, target / "config.json")
