"""How the tests of the command line call the program: LATHE names it, else it is build/lathe."""

import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LATHE = pathlib.Path(os.environ.get("LATHE", ROOT / "build" / "lathe"))
MODELS = ROOT / "models"
REVIEWS = MODELS / "reviews-bert"
SENTIMENT = REVIEWS / "sentiment" / "model.onnx"
FILL_MASK = REVIEWS / "fill-mask" / "model.onnx"


def lathe(*arguments, stdin="", timeout=120, **options):
    return subprocess.run([LATHE, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=timeout,
                          **options)


def lathe_ok(*arguments, **options):
    done = lathe(*arguments, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lathe_json(*arguments, status=0, **options):
    """The JSON that the command prints; its stdout must hold nothing else."""
    done = lathe(*arguments, "--json", **options)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def lathe_fails(*arguments, **options):
    """The one line that a wrong call ends with."""
    done = lathe(*arguments, **options)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("lathe: assuming")]
    assert len(lines) == 1 and lines[0].startswith("lathe: error: "), done.stderr
    return lines[0]
