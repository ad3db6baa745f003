"""generate and chat against the tokens that the reference implementation chose."""

import fcntl
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import termios
import time

import numpy as np
import pytest

from cli import LATHE, MODELS, ROOT, lathe, lathe_fails, lathe_json, lathe_ok

BLOOM, CHATGLM = MODELS / "poem-bloom", MODELS / "couplet-chatglm"
POEMS = json.loads((BLOOM / "expected.json").read_text())
COUPLETS = json.loads((CHATGLM / "expected.json").read_text())
CASES = [(BLOOM, case) for case in POEMS] + [(CHATGLM, case) for case in COUPLETS]


def answer_of(case):
    """A poem's text is given with its prompt."""
    return case["answer"] if "answer" in case else case["text"].removeprefix(case["prompt"])


@pytest.mark.parametrize("model, case", CASES)
def test_greedy(model, case):
    answer = lathe_json("generate", model, case["prompt"], "--greedy", "--max-tokens", len(case["greedy_ids"]) + 5)
    assert answer["prompt_ids"] == case["ids"]
    assert answer["ids"] == case["greedy_ids"]
    assert answer["text"].strip() == answer_of(case).strip()
    assert answer["finish_reason"] == "stop"
    assert len(answer["logprobs"]) == len(answer["ids"])


@pytest.mark.parametrize("model, cases", [(BLOOM, POEMS), (CHATGLM, COUPLETS)])
@pytest.mark.parametrize("options", [[], ["--chunk", 3], ["--block-size", 1], ["--block-size", 64], ["--blocks", 12],
                                     ["--no-prefix-cache"], ["--kv-dtype", "fp16"], ["--threads", 1]])
def test_side_by_side_as_if_alone(model, cases, options):
    answers = lathe_json("generate", model, *[case["prompt"] for case in cases], "--greedy", "--max-tokens", 60, *options)
    assert [answer["ids"] for answer in answers] == [case["greedy_ids"] for case in cases]


def test_tokenizer_of_another_model(tmp_path):
    case = POEMS[0]
    tokenizer = json.loads((BLOOM / "tokenizer.json").read_text())
    folder = tmp_path / "model"
    folder.mkdir()
    for file in ("model.safetensors", "generation_config.json"):
        (folder / file).symlink_to(BLOOM / file)
    config = json.loads((BLOOM / "config.json").read_text())

    def fails(**changes):
        (folder / "config.json").write_text(json.dumps(config | changes))
        return lathe_fails("generate", folder, case["prompt"], "--tokenizer", tmp_path / "tokenizer.json")

    def write(added, words):
        extended = tokenizer | {"added_tokens": tokenizer["added_tokens"] + added,
                                "model": tokenizer["model"] | {"vocab": tokenizer["model"]["vocab"] | words}}
        (tmp_path / "tokenizer.json").write_text(json.dumps(extended))

    vocabulary = config["vocab_size"]
    write([], {"more": vocabulary})
    assert f"its token {vocabulary} is 'more'" in fails()
    write([{"id": vocabulary, "content": "<more>", "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": False}], {})  # added after the model was made, and this text lacks it
    answer = lathe_json("generate", BLOOM, case["prompt"], "--greedy", "--tokenizer", tmp_path / "tokenizer.json")
    assert answer["ids"] == case["greedy_ids"]
    (folder / "generation_config.json").unlink()
    assert "it ends texts with token 2, the model with 1000" in fails(eos_token_id=1000)


def test_text_streams_to_stdout():
    case = POEMS[0]
    assert lathe_ok("generate", BLOOM, case["prompt"], "--greedy") == answer_of(case)
    assert lathe_ok("generate", BLOOM, "--greedy", stdin=case["prompt"]) == answer_of(case)


def test_ids_in_and_logits_out(tmp_path):
    case = POEMS[1]
    dump = tmp_path / "logits.npz"
    ids = ",".join(map(str, case["ids"]))
    answer = lathe_json("generate", BLOOM, "--prompt-ids", ids, "--greedy", "--ignore-eos", "--max-tokens", 24, "--dtype", "fp32",
                        "--dump-logits", dump)
    assert answer["ids"] == case["greedy_ids"][:24] and answer["finish_reason"] == "length"
    logits = np.load(dump)["logits"]
    assert logits.shape == (len(case["ids"]), 6144) and logits.dtype == np.float32
    assert logits[-1].argmax() == case["greedy_ids"][0]
    lathe_json("generate", BLOOM, "--prompt-ids", ids, "--prompt-ids", ids, "--max-tokens", 1, "--chunk", 2, "--dump-logits", dump)
    again = np.load(dump)
    np.testing.assert_allclose(again["logits"], logits, atol=1e-4)
    np.testing.assert_array_equal(again["logits_1"], again["logits"])


def test_sampling_repeats_with_its_seed():
    def ids(*options):
        answer = lathe_json("generate", BLOOM, POEMS[0]["prompt"], "--max-tokens", 20, *options)
        return [choice["ids"] for choice in answer["choices"]] if "choices" in answer else answer["ids"]

    assert ids("--seed", 7) == ids("--seed", 7) != ids("--seed", 8)
    three = ids("--seed", 7, "--n", 3)
    assert len(three) == 3 and three[0] == ids("--seed", 7) and three[0] != three[1]
    assert ids("--top-k", 1) == ids("--temperature", 0) == ids("--greedy")
    banned = ids("--greedy")[0]
    assert banned not in ids("--greedy", "--logit-bias", f"{banned}=-100")


def test_logprobs_and_stop():
    case = POEMS[0]
    answer = lathe_json("generate", BLOOM, case["prompt"], "--greedy", "--logprobs", 3)
    for token in answer["logprobs"]:
        assert len(token["top"]) == 3 and token["top"][0] == {"id": token["id"], "logprob": token["logprob"]}
        assert sum(np.exp(other["logprob"]) for other in token["top"]) <= 1.001
    stopped = lathe_json("generate", BLOOM, case["prompt"], "--greedy", "--stop", "，")
    assert stopped["text"] == answer["text"].split("，")[0] and stopped["finish_reason"] == "stop"


def test_beams():
    case = COUPLETS[0]
    beams = lathe_json("generate", CHATGLM, case["prompt"], "--beams", 4, "--n", 4, "--greedy")["choices"]
    scores = [beam["score"] for beam in beams]
    assert scores == sorted(scores, reverse=True)
    assert len({tuple(beam["ids"]) for beam in beams}) == 4
    greedy = lathe_json("generate", CHATGLM, case["prompt"], "--greedy")
    assert scores[0] >= greedy["score"] / len(greedy["ids"]) - 1e-5


def test_bench_ends_prompts_as_the_model_needs():
    [result] = lathe_json("bench", CHATGLM, "--pp", 8, "--tg", 4)["results"]
    assert result["answer_tokens"] == 4 and result["answer_tokens_per_second"] > 0


def test_stats_go_to_stderr():
    done = lathe("generate", BLOOM, POEMS[0]["prompt"], "--greedy", "--stats")
    assert done.stdout == answer_of(POEMS[0])
    assert "prefill" in done.stderr and "tokens/s" in done.stderr


def test_chat(tmp_path):
    talk = tmp_path / "talk.json"
    lines = ["明月松間照", "/save " + str(talk), "/reset", "/help", "/nonsense", "春風得意馬蹄疾", "/exit", "not read"]
    done = lathe("chat", CHATGLM, "--greedy", "--max-tokens", 16, stdin="\n".join(lines))
    assert done.returncode == 0, done.stderr
    assert "/nonsense" in done.stderr and "/reset" in done.stdout
    saved = json.loads(talk.read_text())
    assert [message["role"] for message in saved] == ["user", "assistant"] and saved[0]["content"] == lines[0]
    messages = lathe_json("chat", CHATGLM, "--greedy", "--max-tokens", 16, "--system", "x", stdin="明月松間照\n/system y\n大漠孤煙直")
    assert [message["role"] for message in messages] == ["system", "user", "assistant"]
    assert messages[0]["content"] == "y"
    beams = lathe_json("chat", CHATGLM, "--beams", 3, "--max-tokens", 16, stdin=lines[0])
    best = lathe_json("generate", CHATGLM, lines[0], "--beams", 3, "--greedy", "--max-tokens", 16)
    assert beams[1]["content"] == best["text"]


def test_parts_of_a_checkpoint_are_no_model(tmp_path):
    assert "Give the folder" in lathe_fails("generate", BLOOM / "model.safetensors", "x")
    other = tmp_path / "model.gguf"
    other.write_bytes(b"GGUF")
    assert "GGUF files are not read" in lathe_fails("ppl", other, other)


def test_folders_of_other_kinds_of_models(tmp_path):
    assert "an encoder, which writes no text" in lathe_fails("generate", ROOT / "tests" / "data" / "checkpoints" / "bert-masked-lm", "x")
    assert "'bloom' is not that of an encoder" in lathe_fails("run", BLOOM)


def test_answers_are_as_long_as_the_model_says(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(BLOOM, model)
    (model / "generation_config.json").write_text('{"max_new_tokens": 3}')
    count = lambda *options: len(lathe_json("generate", model, "x", "--greedy", "--ignore-eos", *options)["ids"])
    assert (count(), count("--max-tokens", 5)) == (3, 5)
    # Without a tokenizer there is no text that could hold a stop string.
    for file in model.glob("tokenizer*"):
        file.unlink()
    assert "no tokenizer" in lathe_fails("generate", model, "--prompt-ids", "5", "--stop", "x")


def test_files_of_other_programs_are_named(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + bytes(100))
    for command in ("generate", "inspect"):
        assert "GGUF file" in lathe_fails(command, tmp_path / "x.gguf")
    assert "GGUF files are not read" in lathe_fails("chat", tmp_path)


def test_a_conversation_may_outgrow_the_context():
    done = lathe("chat", CHATGLM, "--context", 40, stdin="月" * 100 + "\n月\n")
    assert done.returncode == 2 and "102 tokens" in done.stderr


def test_control_c_ends_generation():
    process = subprocess.Popen([LATHE, "generate", BLOOM, "x", "--ignore-eos", "--max-tokens", "1000"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


class Terminal:
    """A program at a terminal."""

    def __init__(self, *args):
        self.parent, child = pty.openpty()
        self.process = subprocess.Popen([LATHE, *map(str, args)], stdin=child, stdout=child, stderr=child,
                                        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(child)
        self.shown = b""

    def wait_for(self, text, timeout=60):
        """Reads until `text` has come; returns what came before it."""
        end = time.monotonic() + timeout
        while text not in self.shown:
            ready, _, _ = select.select([self.parent], [], [], max(0, end - time.monotonic()))
            assert ready, self.shown.decode(errors="replace")
            self.shown += os.read(self.parent, 4096)
        before, _, self.shown = self.shown.partition(text)
        return before

    def type(self, text):
        os.write(self.parent, text.encode())


CONTROL_C = "\x03"


def test_control_c_stops_the_answer_not_the_conversation(tmp_path):
    chat = Terminal("chat", BLOOM, "--ignore-eos", "--max-tokens", 900, "--greedy")
    chat.wait_for(b"> ")
    chat.type("春\n")
    chat.wait_for(b"\n")  # the echo
    while len(chat.shown) < 30:
        chat.shown += os.read(chat.parent, 100)
    chat.type(CONTROL_C)
    chat.wait_for(b"> ")
    chat.type(f"/save {tmp_path}/talk.json\n")
    chat.wait_for(b"> ")
    user, answer = json.loads((tmp_path / "talk.json").read_text())
    assert user["content"] == "春" and 0 < len(answer["content"]) < 800
    chat.type(f"/reset\n/save {tmp_path}/none.json\n")
    chat.wait_for(b"> ")
    chat.wait_for(b"> ")
    assert json.loads((tmp_path / "none.json").read_text()) == []
    chat.type(CONTROL_C)  # with no answer under way it leaves
    assert chat.process.wait(60) in (0, 130)


def test_control_c_again_leaves():
    chat = Terminal("chat", BLOOM, "--ignore-eos", "--max-tokens", 900, "--chunk", 1)
    chat.wait_for(b"> ")
    chat.type("春" * 400 + "\n")
    chat.wait_for(b"\n")
    for _ in range(1000):  # one signal may be taken for two, so a few more come
        os.killpg(chat.process.pid, signal.SIGINT)
        time.sleep(0.02)
        if chat.process.poll() is not None:
            return
    pytest.fail("it is still there")


@pytest.mark.parametrize("kv", ["fp16", "int8", "fp8"])
def test_narrow_keys_and_values(tmp_path, kv):
    text = tmp_path / "poems.txt"
    text.write_text("".join(case["prompt"] + answer_of(case) for case in POEMS))
    wide = lathe_json("ppl", BLOOM, text)["perplexity"]
    narrow = lathe_json("ppl", BLOOM, text, "--kv", kv)["perplexity"]
    assert wide != narrow and abs(narrow - wide) < 0.01 * wide


def test_bench_profile():
    layers = lathe_json("bench", BLOOM, "--pp", 24, "--tg", 3, "--profile")["layers"]
    for part in (layers["prompt"], layers["token"]):
        assert abs(sum(layer["percent"] for layer in part) - 100) < 0.1
        attention = next(layer for layer in part if layer["op"] == "paged_attention")
        assert "*" in attention["name"] and attention["steps"] > 1 and attention["gflops"] > 0


def test_deterministic_answers_do_not_depend_on_company():
    prompts = [case["prompt"] for case in POEMS]
    together = lathe_json("generate", BLOOM, *prompts, "--deterministic", "--chunk", 5)
    for prompt, answer in zip(prompts, together):
        assert lathe_json("generate", BLOOM, prompt, "--deterministic")["logprobs"] == answer["logprobs"]


def test_wrong_calls(tmp_path):
    assert "int8" in lathe_fails("generate", BLOOM, "x", "--kv", "int7")
    assert "config.json" in lathe_fails("generate", tmp_path, "x")
    assert "token ids" in lathe_fails("generate", BLOOM, "--prompt-ids", "1,x")
    assert "6144" in lathe_fails("generate", BLOOM, "--prompt-ids", "1,6144")
    assert "ID=BIAS" in lathe_fails("generate", BLOOM, "x", "--logit-bias", "5")
    assert "--greedy" in lathe_fails("generate", BLOOM, "x", "--greddy")
    assert "blocks" in lathe_fails("generate", BLOOM, "x", "--blocks", 1)
    assert "fp8" in lathe_fails("generate", BLOOM, "x", "--dtype", "fp8")
    assert "beams" in lathe_fails("generate", BLOOM, "x", "--beams", 2, "--n", 3)
    assert "-inf: never" in lathe_fails("generate", BLOOM, "x", "--logit-bias", "5=nan")
    assert "prompt 2" in lathe_fails("generate", BLOOM, "x", "x" * 9000, "--max-tokens", 1)


def test_types_as_pytorch_spells_them():
    ids = [lathe_json("generate", BLOOM, "x", "--greedy", "--max-tokens", 4, "--dtype", name)["ids"]
           for name in ("bf16", "bfloat16")]
    assert ids[0] == ids[1]


def test_a_wrong_path_for_logits_costs_no_answer(tmp_path):
    call = lathe("generate", BLOOM, "x", "--max-tokens", 4, "--dump-logits", tmp_path / "none" / "logits.npz")
    assert call.returncode == 2 and call.stdout == ""


POEM_TEXT = "".join(case["text"] + "\n" for case in POEMS)


@pytest.fixture
def poems(tmp_path):
    path = tmp_path / "poems.txt"
    path.write_text(POEM_TEXT)
    return path


def test_perplexity(poems, tmp_path):
    whole = lathe_json("ppl", BLOOM, poems)
    dump = tmp_path / "logits.npz"
    ids = lathe_json("generate", BLOOM, POEM_TEXT, "--max-tokens", 1, "--dump-logits", dump)["prompt_ids"]
    logits = np.load(dump)["logits"].astype(np.float64)[:-1]
    logits -= logits.max(axis=1, keepdims=True)
    surprise = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(ids) - 1), ids[1:]]
    assert whole["tokens"] == len(ids) - 1
    assert whole["mean_surprise"] == pytest.approx(surprise.mean(), rel=1e-4)
    assert whole["perplexity"] == pytest.approx(np.exp(surprise.mean()), rel=1e-3)
    windows = lathe_json("ppl", BLOOM, poems, "--window", 20)  # whose first tokens nothing predicts
    assert windows["tokens"] == len(ids) - (len(ids) + 19) // 20
    assert windows["perplexity"] > whole["perplexity"]
    short = tmp_path / "start.txt"
    short.write_text("")
    assert "too short" in lathe_fails("ppl", BLOOM, short)
    assert "cannot read" in lathe_fails("ppl", BLOOM, tmp_path / "none.txt")


def test_perplexity_of_rounded_weights(poems):
    losses = {}
    for options in (["--int8"], ["--int8", "--activations", "float"], ["--int4", "--group", 32], ["--int4", "--group", 64]):
        report = lathe_json("ppl", BLOOM, poems, *options, "--against", BLOOM)
        assert report["against"]["model"] == str(BLOOM)
        losses[" ".join(map(str, options))] = report["against"]["loss"]
        assert report["perplexity"] == pytest.approx(report["against"]["perplexity"] * (1 + report["against"]["loss"]))
    assert abs(losses["--int8 --activations float"]) < 0.02 and abs(losses["--int8"]) < 0.03
    assert abs(losses["--int4 --group 32"]) < 0.3
    assert lathe_json("ppl", BLOOM, poems, "--against", BLOOM)["against"]["loss"] == 0


def test_rounding_options():
    assert "excludes" in lathe_fails("generate", BLOOM, "a", "--int8", "--int4")
    assert "--group" in lathe_fails("generate", BLOOM, "a", "--group", 64)
    assert "--activations" in lathe_fails("generate", BLOOM, "a", "--int8", "--activations", "int3")


def test_quantize(poems, tmp_path):
    case = POEMS[0]
    for options in (["--int8"], ["--int4", "--group", 32], ["--int4", "--group", 32, "--calib", poems]):
        out = tmp_path / "-".join(map(str, options[:1] + options[3:4])).strip("-")
        report = lathe_json("quantize", BLOOM, "-o", out, *options)
        assert report["bytes_after"] < report["bytes_before"]
        config = json.loads((out / "config.json").read_text())
        weights = config["quantization_config"]["config_groups"]["group_0"]["weights"]
        assert weights["num_bits"] == report["bits"] and config["quantization_config"]["quant_method"] == "compressed-tensors"
        assert (out / "tokenizer.json").read_bytes() == (BLOOM / "tokenizer.json").read_bytes()
        assert lathe_json("ppl", out, poems, "--against", BLOOM)["against"]["loss"] < 0.3
        assert lathe_json("inspect", out)["weight_bytes"] < lathe_json("inspect", BLOOM)["weight_bytes"]
        assert ("loss" in report) == ("--calib" in options)
    text = poems.read_bytes()
    held_out = tmp_path / "held_out.txt"
    held_out.write_bytes(text[text.rfind(b"\n", 0, len(text) - len(text) // 10) + 1:])
    measured = lathe_json("ppl", out, held_out, "--against", BLOOM)
    assert report["loss"]["tokens"] == measured["tokens"] < 200
    assert report["loss"]["loss"] == pytest.approx(measured["against"]["loss"])
    assert "already" in lathe_fails("quantize", BLOOM, "-o", out, "--int4")
    assert "how many bits" in lathe_fails("quantize", BLOOM, "-o", tmp_path / "x")
    assert "where the result is to go" in lathe_fails("quantize", BLOOM, "--int4")
    assert not list(tmp_path.glob("*.partial"))


def test_inspect_accounts_for_rounding():
    wide, int8, int4 = (lathe_json("inspect", BLOOM, *options) for options in ([], ["--int8"], ["--int4"]))
    assert wide["parameters"] == pytest.approx(int8["parameters"], rel=0.3)
    assert int4["weight_bytes"] < int8["weight_bytes"] < wide["weight_bytes"]
