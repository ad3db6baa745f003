#!/usr/bin/env python3
"""Speed of Lathe's tokenisers against Hugging Face's `tokenizers`, in turns on the same text, in
processor time of one core each.

  bench/text/compare_tokenizers.py --bench build/bench/tokenizer_bench TEXT_FILE TOKENIZER_FOLDER ...

Needs the Python package `tokenizers`. Prints the best of three turns of each, and the ratio.
"""
import argparse
import os
import pathlib
import subprocess
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"


def lathe_speed(bench, folder, text):
    output = subprocess.run([bench, folder, text, "1"], check=True, capture_output=True, text=True).stdout
    speed, ids = output.split(" MB/s, ")
    return float(speed), int(ids.split()[0])


def rival_speed(tokenizer, lines):
    start = time.process_time()
    ids = sum(len(tokenizer.encode(line).ids) for line in lines)
    size = sum(len(line.encode()) for line in lines)
    return size / (time.process_time() - start) / 1e6, ids


def main():
    import tokenizers

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", required=True, help="the program tokenizer_bench")
    parser.add_argument("text", help="a text file in UTF-8")
    parser.add_argument("folder", nargs="+", help="a folder with tokenizer.json")
    arguments = parser.parse_args()
    lines = pathlib.Path(arguments.text).read_bytes().decode().removesuffix("\n").split("\n")
    lines = [line + "\n" for line in lines]
    for folder in arguments.folder:
        rival = tokenizers.Tokenizer.from_file(str(pathlib.Path(folder) / "tokenizer.json"))
        ours, theirs = [], []
        for _ in range(3):
            ours.append(lathe_speed(arguments.bench, folder, arguments.text))
            theirs.append(rival_speed(rival, lines))
        (speed, ids), (rival_best, rival_ids) = max(ours), max(theirs)
        same = "same ids" if ids == rival_ids else f"{ids} ids against {rival_ids}"
        print(f"{folder}: {speed:.1f} MB/s against {rival_best:.1f} MB/s, {speed / rival_best:.1f}x, {same}")


if __name__ == "__main__":
    main()
