"""What the README starts by torchrun: its parser understands every line, and hands the command on as it is meant."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

from engine.cli.arguments import parser

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8").replace("\\\n", " ")
#: those in blocks of the shell, between backticks and in the manifest's list
LINES = [
    *re.findall(r"^(?:srun )?uv run torchrun (.*)$", README, re.MULTILINE),
    *re.findall(r"`torchrun (.*?)`", README),
    *(found.replace(",", "") for found in re.findall(r"\[uv, run, torchrun, (.*?)\]", README)),
]


@pytest.mark.parametrize("line", LINES)
def test_torchrun_hands_on_what_is_meant(line: str) -> None:
    """Without ``--`` torchrun takes ``--n`` for one of its own options, and refuses it."""
    words = shlex.split(line)
    asked = get_args_parser().parse_args(words)
    assert asked.module
    assert asked.training_script == "engine"
    assert asked.training_script_args == words[words.index("engine") + 1 :]
    parser().parse_args(asked.training_script_args)


def test_commands_of_several_kinds_were_found() -> None:
    assert len(LINES) == 4
