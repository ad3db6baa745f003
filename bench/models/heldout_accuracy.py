#!/usr/bin/env python3
"""What narrower types cost the bundled models on texts that no calibration has seen, measured through the program.

  bench/models/heldout_accuracy.py --lathe build/lathe heldout_reviews.tsv            made-up inputs decide types
  bench/models/heldout_accuracy.py --calib reviews.txt heldout_reviews.tsv --flags='--int8' --flags='--int8 --top1 0.99'

The file has a line `label<TAB>text` for each text, label 0 (negative) or 1. The sentiment model is judged by its share of
right answers, and of the same answers as in f32; the mask-filling model by the share of masked characters for which its
first choice is that of f32: of each text's Chinese characters a seeded 15 % are masked at once, as in training.
"""
import argparse
import json
import random
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

MODELS = Path(__file__).resolve().parents[2] / "models" / "reviews-bert"
FLAGS = ["--int8", "--bf16", "--fp16", "--int8 --bf16", "--best", "--int8 --activations per-tensor"]
CHINESE = re.compile(r"[一-鿿]")


def lathe(args, *command, lines=None):
    done = subprocess.run([args.lathe, *map(str, command), "--json"], input=None if lines is None else "\n".join(lines),
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"lathe {' '.join(map(str, command))}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def read_texts(path, count):
    rows = [line.partition("\t") for line in Path(path).read_text().splitlines()[:count]]
    return [int(label) for label, _, _ in rows], [text.replace("[MASK]", "") for _, _, text in rows]


def masked(texts, share, seed):
    rng = random.Random(seed)
    lines = (CHINESE.sub(lambda c: "[MASK]" if rng.random() < share else c[0], text) for text in texts)
    return [line for line in lines if "[MASK]" in line]


def classes(args, folder, texts):
    return [answer["probabilities"]["positive"] > 0.5 for answer in lathe(args, "classify", folder, lines=texts)]


def first_choices(args, folder, lines):
    answers = lathe(args, "fill-mask", folder, "--top", 1, lines=lines)
    return [mask["candidates"][0]["id"] for answer in answers for mask in answer["masks"]]


def narrow_folder(args, name, flags, folder):
    """A folder like the model's, with a plan in these types; and what the build says of them."""
    for file in ("tokenizer.json", "config.json"):
        shutil.copy(MODELS / name / file, folder)
    calib = ["--calib", args.calib, "--tokenizer", MODELS / name] if args.calib else []
    report = lathe(args, "build", MODELS / name / "model.onnx", "-o", folder / "model.plan", *flags.split(), *calib,
                   "--threads", args.threads)["precision"]
    kinds = [layer["type"] for layer in report["layers"]]
    types = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
    return types, min(output["cosine"] for output in report["outputs"])


def equal(a, b):
    return 100 * sum(x == y for x, y in zip(a, b, strict=True)) / len(a)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts")
    parser.add_argument("--lathe", default="build/lathe")
    parser.add_argument("--calib", help="lines of text; without, `build` makes inputs up")
    parser.add_argument("--flags", action="append", help="of `lathe build`; repeatable")
    parser.add_argument("--lines", type=int, default=2000, help="how many texts are read")
    parser.add_argument("--masked", type=float, default=0.15, help="share of characters")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    labels, texts = read_texts(args.texts, args.lines)
    lines = masked(texts, args.masked, args.seed)
    exact_classes = classes(args, MODELS / "sentiment", texts)
    exact_choices = first_choices(args, MODELS / "fill-mask", lines)
    print(f"{len(texts)} texts, right in f32: {equal(exact_classes, map(bool, labels)):.2f} %; "
          f"{len(exact_choices)} masked characters", flush=True)
    print("| flags | sentiment | cosine | right | as in f32 | fill-mask | cosine | first choice as in f32 |\n"
          "|---|---|---:|---:|---:|---|---:|---:|")
    for flags in args.flags or FLAGS:
        with tempfile.TemporaryDirectory() as sentiment, tempfile.TemporaryDirectory() as fill_mask:
            types, cosine = narrow_folder(args, "sentiment", flags, Path(sentiment))
            found = classes(args, sentiment, texts)
            row = [flags, types, f"{cosine:.6f}", f"{equal(found, map(bool, labels)):.2f} %",
                   f"{equal(found, exact_classes):.2f} %"]
            types, cosine = narrow_folder(args, "fill-mask", flags, Path(fill_mask))
            row += [types, f"{cosine:.6f}", f"{equal(first_choices(args, fill_mask, lines), exact_choices):.2f} %"]
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
