#!/usr/bin/env python3
"""Writes tests/data/llm/sampling.json: what transformers' own processors leave of rows of logits, as probabilities.

Needs torch and transformers.
"""

import json
import pathlib

import torch
from transformers.generation import logits_process as lp

OUT = pathlib.Path(__file__).resolve().parents[1] / "data" / "llm" / "sampling.json"


def processors(options):
    """In the order of `generate`."""
    if "logit_bias" in options:
        yield lp.SequenceBiasLogitsProcessor({(i,): float(b) for i, b in options["logit_bias"]})
    if "repetition_penalty" in options:
        yield lp.RepetitionPenaltyLogitsProcessor(options["repetition_penalty"])
    if "temperature" in options:
        yield lp.TemperatureLogitsWarper(options["temperature"])
    if "top_k" in options:
        yield lp.TopKLogitsWarper(options["top_k"])
    if "top_p" in options:
        yield lp.TopPLogitsWarper(options["top_p"])
    if "min_p" in options:
        yield lp.MinPLogitsWarper(options["min_p"])
    if "typical_p" in options:
        yield lp.TypicalLogitsWarper(options["typical_p"])


OPTIONS = [
    {}, {"temperature": 0.7}, {"temperature": 1.8}, {"top_k": 5}, {"top_k": 1000}, {"top_p": 0.9}, {"top_p": 0.3},
    {"top_p": 0.999}, {"min_p": 0.1}, {"min_p": 0.9}, {"typical_p": 0.9}, {"typical_p": 0.2},
    {"repetition_penalty": 1.3}, {"repetition_penalty": 0.8}, {"logit_bias": [[3, 4.0], [0, -50.0]]},
    {"logit_bias": [[2, 3.0]], "repetition_penalty": 1.5},
    {"temperature": 0.7, "top_k": 40, "top_p": 0.8}, {"temperature": 1.3, "top_p": 0.95, "min_p": 0.05},
    {"temperature": 0.9, "top_k": 20, "top_p": 0.9, "min_p": 0.02, "typical_p": 0.8, "repetition_penalty": 1.1},
    {"temperature": 5.0, "top_p": 0.7}, {"temperature": 0.05, "top_p": 0.99},
]


def main():
    torch.manual_seed(7)
    cases = []
    for size, spread in ((8, 2.0), (300, 3.0), (300, 0.5)):
        logits = torch.round(torch.randn(size) * spread * 2**20) / 2**20
        assert len(set(logits.tolist())) == size  # which of two equal ones a cut keeps is nobody's promise
        history = torch.randint(0, size, (1, 12))
        for options in OPTIONS:
            scores = logits[None].clone()
            for processor in processors({**options, "top_k": min(options["top_k"], size)} if "top_k" in options else options):
                scores = processor(history, scores)
            probabilities = torch.softmax(scores.double(), -1)[0]
            kept = [[i, float(f"{p:.7g}")] for i, p in enumerate(probabilities.tolist()) if p > 0]
            cases.append({"row": len(cases) // len(OPTIONS), "options": options, "kept": kept})
        cases[-len(OPTIONS)].update(logits=logits.tolist(), history=history[0].tolist())
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(cases, separators=(",", ":")).replace('},{"row', '},\n{"row') + "\n")


if __name__ == "__main__":
    main()
