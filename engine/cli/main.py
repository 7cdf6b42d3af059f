"""The command line: ``somatwin COMMAND`` or ``python -m engine COMMAND``; a command imports what it needs when it runs."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence

from engine.cli.arguments import parser
from engine.cli.bench import run_bench
from engine.cli.cohorts import run_deidentify, run_ingest, run_phantom
from engine.cli.commands import (
    run_evaluate,
    run_example,
    run_generate,
    run_infer,
    run_info,
    run_measure,
    run_whatif,
)
from engine.cli.impute import run_impute
from engine.cli.masks import run_segment
from engine.cli.terminal import Meter
from engine.cli.training import run_train
from engine.storage.ranks import Told
from engine.vocabulary.refusal import Refusal

COMMANDS = {
    "ingest": run_ingest,
    "deidentify": run_deidentify,
    "phantom": run_phantom,
    "train": run_train,
    "generate": run_generate,
    "impute": run_impute,
    "measure": run_measure,
    "infer": run_infer,
    "segment": run_segment,
    "whatif": run_whatif,
    "info": run_info,
    "example": run_example,
    "evaluate": run_evaluate,
    "audit": run_evaluate,
    "bench": run_bench,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    meter = Meter()
    try:
        args = parser().parse_args(argv)
        COMMANDS[args.command](args, meter)
        sys.stdout.flush()
        return 0
    except SystemExit as end:  # argparse has said all
        return int(end.code or 0)
    except KeyboardInterrupt:
        return _fail(meter, "stopped", 130)
    except BrokenPipeError:  # the reader of stdout, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Told as told:
        return told.code
    except Exception as error:
        if sentence := refusal(error):
            return _fail(meter, sentence, 2)
        return _fail(meter, traceback.format_exc().rstrip(), 1)


def _fail(meter: Meter, message: str, code: int) -> int:
    meter.close()
    print(f"somatwin: {message}", file=sys.stderr)
    return code


def refusal(error: Exception) -> str | None:
    """What to say of bad input or an unusable file, in one line; None for an error that nobody foresaw."""
    if isinstance(error, Refusal):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and (error.filename or error.errno in (errno.ENOSPC, errno.EDQUOT)):
        return f"{error.filename or 'a file'} cannot be used ({error.strerror}); check the path and the space left"
    return None
