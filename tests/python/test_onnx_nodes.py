"""The ONNX backend node suite on the CPU backend.

Cases that fail are listed, with the reason, in tests/data/onnx_node_ignore.txt. The list may only get shorter: a listed
case that passes, or that does not exist, fails this test as well.
"""

import os
import pathlib
import subprocess

import onnx
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CASES = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data" / "node"
IGNORE = ROOT / "tests" / "data" / "onnx_node_ignore.txt"
RUNNER = pathlib.Path(os.environ.get("LATHE", ROOT / "build" / "lathe")).resolve().parent / "tests" / "node_runner"


def ignored_cases():
    lines = (line.split("#")[0].strip() for line in IGNORE.read_text().splitlines())
    return {line for line in lines if line}


def run(folders):
    """The reason of failure by case; None for one that passed. A case that kills the runner fails alone."""
    results, left = {}, list(folders)
    while left:
        done = subprocess.run([RUNNER], input="\n".join(map(str, left)) + "\n", capture_output=True, text=True,
                              timeout=600)
        lines = done.stdout.splitlines()
        for line in lines:
            if line.startswith("ok "):
                results[line[3:]] = None
            elif line.startswith("FAIL "):
                name, reason = line[5:].split(": ", 1)
                results[name] = reason
        if done.returncode != 0 and lines and lines[-1].startswith("run "):
            results[lines[-1][4:]] = f"the runner ended with status {done.returncode}: {done.stderr[-200:]}"
        remaining = [folder for folder in left if folder.name not in results]
        assert len(remaining) < len(left), f"the runner does nothing: {done.stderr[-500:]}"
        left = remaining
    return results


@pytest.fixture(scope="module")
def results():
    folders = sorted(folder for folder in CASES.iterdir() if folder.is_dir())
    assert len(folders) > 1700
    return run(folders)


def test_every_case_passes_unless_listed(results):
    failed = {name: reason for name, reason in results.items() if reason is not None and name not in ignored_cases()}
    assert not failed, "\n".join(f"{name}: {reason}" for name, reason in sorted(failed.items()))


def test_the_list_only_shrinks(results):
    passing = sorted(name for name in ignored_cases() if results.get(name, "") is None)
    missing = sorted(name for name in ignored_cases() if name not in results)
    assert not passing, f"these pass now; take them off {IGNORE.name}: {' '.join(passing)}"
    assert not missing, f"{IGNORE.name} names cases that do not exist: {' '.join(missing)}"
