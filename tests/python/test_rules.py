"""The rule checkers must find what they forbid: each test plants one offence in a small tree."""

import pathlib
import shutil
import subprocess
import sys

import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent.parent / "scripts"


@pytest.fixture
def tree(tmp_path):
    """A tree that keeps the rules: base below graph below onnx and the CPU backend."""
    files = {
        "src/base/CMakeLists.txt": "lathe_room(lathe_base SOURCES a.cc DEPS lathe_fmt)\n",
        "src/graph/CMakeLists.txt": "lathe_room(lathe_graph SOURCES g.cc DEPS lathe_base)\n",
        "src/onnx/CMakeLists.txt": "lathe_room(lathe_onnx SOURCES o.cc DEPS lathe_graph)\n",
        "src/backends/cpu/CMakeLists.txt": "lathe_room(lathe_backend_cpu SOURCES k.cc DEPS lathe_base)\n",
        "src/base/a.h": "// Decides a.\n#pragma once\n",
        "src/graph/g.cc": '#include "base/a.h"\n',
        "src/onnx/o.cc": '#include "base/a.h"\n#include "graph/g.h"\n',
        "src/backends/cpu/kernels/k.cc": '#include "base/a.h"\n#include "backends/shared.h"\n',
    }
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    for name, text in files.items():
        write(tmp_path, name, text)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def write(tree, name, text):
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def check_floors(tree):
    done = subprocess.run([sys.executable, tree / "scripts" / "check_floors"], capture_output=True, text=True)
    return done.returncode, done.stdout


def test_a_tree_that_keeps_the_rules_passes(tree):
    assert check_floors(tree) == (0, "check_floors: 4 files keep the rules\n")


@pytest.mark.parametrize("name, text, complaint", [
    ("src/base/b.cc", '#include "graph/g.h"\n', "src/base/b.cc:1: base includes graph"),
    ("src/graph/h.cc", '\n  #  include "onnx/o.h"\n', "src/graph/h.cc:2: graph includes onnx"),
    ("src/passes/p.cc", '#include "onnx/o.h"\n', "passes includes onnx"),
    ("src/backends/cpu/r.cc", '#include "backends/reference/r.h"\n', "backends/cpu includes backends/reference"),
    ("src/backends/cpu/g.cc", '#include "graph/g.h"\n', "includes graph but does not link lathe_graph"),
    ("src/base/CMakeLists.txt", "lathe_room(lathe_base DEPS lathe_graph)\n", "base links graph"),
    ("src/attic/x.cc", "int x;\n", "this folder is no room"),
    ("src/base/n.h", "#pragma once\n", "a header starts with a comment"),
    ("src/base/long.cc", "int a;\n" * 601, "601 lines, 600 allowed"),
])
def test_an_offence_is_named(tree, name, text, complaint):
    write(tree, name, text)
    status, output = check_floors(tree)
    assert status == 1
    assert complaint in output


@pytest.mark.parametrize("head", [
    "void f() {",
    "template <class T>\nauto f(T a) -> int\n  requires(true)\n{",
    "Session::Session(int a) : a_(a), b_{1, 2}, c_{} {",
    "TEST(Suite, Name) {",
    "struct S {\n int f() const noexcept {",
])
@pytest.mark.parametrize("lines, allowed", [(60, True), (61, False)])
def test_functions_are_measured_from_head_to_closing_brace(tree, head, lines, allowed):
    function_head = head.removeprefix("struct S {\n")
    body = lines - function_head.count("\n") - 2
    closing = "};\n" if function_head != head else ""
    text = "namespace a {\n" + head + "\n" + "  if (x) { y = '{'; }  // {\n" * body + "}\n" + closing + "}\n"
    write(tree, "src/base/f.cc", text)
    assert (check_floors(tree)[0] == 0) == allowed


@pytest.mark.parametrize("source, clean", [
    ("namespace avx2 { template <class T> __attribute__((noinline)) T f(T x) { return x; } int g() { return f(1); } }", True),
    ("template <class T> __attribute__((noinline)) T f(T x) { return x; } namespace avx2 { int g() { return f(1); } }", False),
])
def test_weak_functions_outside_the_isa_namespace_are_found(tmp_path, source, clean):
    folder = tmp_path / "room_isa_avx2.dir"
    folder.mkdir()
    (tmp_path / "k.cc").write_text(source)
    subprocess.run(["g++", "-O2", "-c", tmp_path / "k.cc", "-o", folder / "k.cc.o"], check=True)
    done = subprocess.run([sys.executable, SCRIPTS / "check_isa_symbols", tmp_path], capture_output=True, text=True)
    assert (done.returncode == 0) == clean, done.stdout
