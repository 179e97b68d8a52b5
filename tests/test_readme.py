"""What the README says is so."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gelora.cli import _parser

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def code_blocks(language: str) -> list[str]:
    pieces = re.split(r"^```(.*)\n", README, flags=re.MULTILINE)  # text, language, code, "", text, language, code, ...
    return [code for found, code in zip(pieces[1::4], pieces[2::4], strict=False) if found == language]


def test_the_python_example_runs_and_says_what_it_says(tmp_path, bundled_sentences):
    example = code_blocks("python")[0]
    assert len(example.strip().splitlines()) <= 12
    result = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    curve, ranks = result.stdout.strip().splitlines()
    assert len(re.findall(r"\d+\.\d*", curve)) == 7
    assert ranks.startswith("{1: ")


def test_the_estimators_example_finds_the_sphere(tmp_path):
    example = code_blocks("python")[1]
    environment = os.environ | {"GELORA_HOME": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=300, env=environment)
    assert result.returncode == 0, result.stderr
    for line in result.stdout.strip().splitlines():
        dimension, low, high = map(float, line.split(") ")[1].split())
        assert low < dimension < high and abs(dimension - 5) < 0.6, line


@pytest.mark.parametrize("line", [line for block in code_blocks("") for line in block.splitlines() if line.startswith("gelora ")])
def test_every_command_line_is_legal(line):
    _parser().parse_args(shlex.split(line)[1:])


def test_every_link_and_picture_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).is_file(), target


def test_make_targets_that_are_named_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make (\w+)", "\n".join(code_blocks("")))) | {"lock"}:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_every_file_that_contributing_names_is_there():
    named = set(re.findall(r"`((?:app|gelora|pages|tests|docs)/[\w./]*\.\w+)`", (ROOT / "CONTRIBUTING.md").read_text()))
    assert len(named) > 40
    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []
