"""What may be typed: the commands, their options and the words of their help."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from engine.cli.terminal import assignment, sweep

DESCRIPTION = (
    "Generative explorer of human anatomy. Results go to stdout, progress and errors to stderr. Exit codes: 0 done, "
    "1 an unexpected error (with its traceback), 2 bad input (with one sentence), 130 stopped by Ctrl-C."
)


WHERE = (
    "only persons for whom this is true, such as \"age >= 40 and manufacturer == 'SIEMENS'\" (table, reports, headers)"
)
CHUNKED = "store in chunks that are read on their own (zarr v3), as volumes of 8 MiB or more always are"
STEPS = "network evaluations (default: 8, or 32 for tables)"


class Once(argparse.Action):
    """What is given once: a second time would take the place of the first without a word."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            raise argparse.ArgumentError(self, "is given twice; give it once")
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """argparse with its complaints in one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"somatwin: {message} (see {self.prog} --help)\n")


def parser() -> Parser:
    """All commands and their options."""
    top = Parser(prog="somatwin", description=DESCRIPTION, allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def command(name: str, text: str) -> Parser:
        sub = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        sub.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
        return sub

    _cohorts(command)

    phantom = command("phantom", "A cohort of computed torsos with exact ground truth, as a store.")
    phantom.add_argument("store", metavar="STORE", type=Path, help="new folder; an interrupted run goes on")
    phantom.add_argument("--n", metavar="N", type=int, default=100, help="persons (default: 100)")
    phantom.add_argument("--seed", metavar="S", type=int, default=0, help="of the cohort (default: 0)")
    phantom.add_argument("--labels", action="store_true", help="keep the label maps too")
    text = "who: torso_dixon (5 x 5 x 6 mm), torso_dixon_hd (2 x 2 x 3 mm) or heart_cine (12 phases) (default: torso_dixon)"
    phantom.add_argument("--recipe", default="torso_dixon", help=text)
    phantom.add_argument("--chunked", action="store_true", help=CHUNKED)
    phantom.add_argument("--nifti", metavar="K", type=int, default=0, help="the first K also as BIDS in STORE/bids")

    train = command("train", "A store to a checkpoint; the same command again resumes.")
    text = (
        "such as head_t1, table, features_head (what the evaluation sees), measure_head (a ruler) or anatomy (shapes)"
    )
    train.add_argument("recipe", metavar="RECIPE", help=text)
    text = "made by ingest or phantom, for a ruler with labels; for table a CSV file, for anatomy a folder of geometry"
    train.add_argument("store", metavar="STORE", type=Path, help=text)
    train.add_argument("--run-dir", metavar="DIR", type=Path, required=True, help="for the run and DIR/checkpoint")
    train.add_argument("--minutes", metavar="M", type=float, help="time limit (default: the recipe's steps)")
    text = "make a store of this many computed persons first where there is none, within M (torso_dixon)"
    train.add_argument("--persons", metavar="N", type=int, help=text)
    text = "go on from this finished model, by name or folder: its latents stay, decoder and flow learn on"
    train.add_argument("--from", dest="source", metavar="CHECKPOINT", help=text)
    text = "what the model of --from does not know yet and is to learn from the store's label maps: mask"
    train.add_argument("--add", choices=("mask",), help=text)
    text = "with measure_heart or heart_cine: a BIDS folder of patients with contours (*_phase-EDES_cine, _dseg) to learn from afterwards"
    train.add_argument("--patients", metavar="FOLDER", type=Path, help=text)
    train.add_argument("--where", metavar="EXPRESSION", default="", help=WHERE)
    train.add_argument("--seed", metavar="S", type=int, help="of the run (default: the recipe's)")
    train.add_argument("--size", choices=("cpu", "gpu"), default="cpu", help="the recipe's size (default: cpu)")
    text = "train the flow by DP-SGD within this privacy budget, such as 3 (says what that does not cover)"
    train.add_argument("--epsilon", metavar="E", type=float, action=Once, help=text)
    text = "with --epsilon: the chance that its bound fails (default: a tenth of 1 over the persons)"
    train.add_argument("--delta", metavar="D", type=float, action=Once, help=text)

    _generate(command)

    impute = command("impute", "A table with its missing cells drawn given those present, as a new table.")
    impute.add_argument("checkpoint", metavar="CHECKPOINT", help="name or folder")
    text = "CSV or TSV; a column named scan may hold paths of scans, relative to the table"
    impute.add_argument("table", metavar="TABLE", type=Path, help=text)
    text = "draws of every row, told apart by a column named draw (default: 1)"
    impute.add_argument("--draws", metavar="M", type=int, default=1, help=text)
    impute.add_argument("--seed", metavar="S", type=int, default=0, help="of the first row (default: 0)")
    impute.add_argument("--steps", metavar="K", type=int, help=STEPS)
    impute.add_argument("--out", metavar="FILE", type=Path, required=True, help="new CSV or TSV file")

    _about_a_scan(command)
    _segment(command)

    _measure(command)

    info = command("info", "A checkpoint's model card, as Markdown.")
    info.add_argument("checkpoint", metavar="CHECKPOINT", help="name or folder")
    info.add_argument("--json", action="store_true", help="as JSON")

    example = command("example", "The small example with which the app's pages open, beside a checkpoint's weights.")
    example.add_argument("checkpoint", metavar="CHECKPOINT", help="name or folder")
    example.add_argument("--n", metavar="N", type=int, default=40, help="persons drawn freely (default: 40)")
    example.add_argument("--training", metavar="K", type=int, default=300, help="steps on their rows (default: 300)")

    _bench(command)
    _judging(command)
    return top


def _cohorts(command: Callable[[str, str], Parser]) -> None:
    ingest = command("ingest", "A BIDS data set, NIfTI with a table, or DICOM to a store (always on the CPU).")
    ingest.add_argument("source", metavar="SOURCE", type=Path, help="folder; or a table, a zip archive, a DICOMDIR")
    text = "new folder; an interrupted ingest goes on (not with --check)"
    ingest.add_argument("store", metavar="STORE", type=Path, nargs="?", help=text)
    ingest.add_argument("--recipe", default="head_t1", help="whose grid and settings (default: head_t1)")
    text = "say what would be taken, what left and why, and how the table would be read; nothing is written"
    ingest.add_argument("--chunked", action="store_true", help=CHUNKED)
    ingest.add_argument("--check", action="store_true", help=text)
    ingest.add_argument("--json", action="store_true", help="with --check: as JSON")
    text = "how the table's columns are read; with --check, where there is no such file yet, it is proposed and written"
    ingest.add_argument("--schema", metavar="FILE", type=Path, help=text)
    ingest.add_argument("--where", metavar="EXPRESSION", default="", help=WHERE)
    text = "only these columns, between commas; also of the headers, such as manufacturer"
    ingest.add_argument("--columns", metavar="A,B", default="", help=text)
    text = (
        "only series with this text in their description (images: in their file name), or for which an expression is true: "
        "'echo_time < 5' (also repetition_time, inversion_time, flip_angle, b_value, series_description, image_type, stack)"
    )
    ingest.add_argument("--series", metavar="TEXT", default="", help=text)

    text = "DICOM files (PS3.15 basic profile) or a BIDS data set as copies that name nobody, with a report of what was removed."
    deidentify = command("deidentify", text)
    deidentify.add_argument(
        "source", metavar="SOURCE", type=Path, help="folder, zip archive, DICOMDIR or BIDS data set"
    )
    deidentify.add_argument("out", metavar="OUT", type=Path, help="new folder")


def _measure(command: Callable[[str, str], Parser]) -> None:
    measure = command("measure", "Measures on heads, torsos and hearts, as JSON (always on the CPU).")
    measure.add_argument("scans", metavar="SCAN", type=Path, nargs="+", help="NIfTI; of a torso either of its files")
    text = "what the scans are of, such as head or torso (default: told by name and size)"
    measure.add_argument("--as", dest="kind", metavar="REGION", help=text)
    text = "also write what was measured as DICOM-SR (TID 1500), NAME_sr.dcm, into this folder"
    measure.add_argument("--sr", metavar="DIR", type=Path, help=text)


def _generate(command: Callable[[str, str], Parser]) -> None:
    generate = command("generate", "New persons as a BIDS folder: scans and participants.tsv.")
    generate.add_argument("checkpoint", metavar="CHECKPOINT", help="name or folder")
    generate.add_argument("--n", metavar="N", type=int, default=1, help="persons (default: 1)")
    text = "an attribute to give, such as age=60; may be repeated"
    generate.add_argument("--set", metavar="NAME=VALUE", type=assignment, action="append", default=[], help=text)
    generate.add_argument("--seed", metavar="S", type=int, default=0, help="of the first person (default: 0)")
    generate.add_argument("--steps", metavar="K", type=int, help=STEPS)
    generate.add_argument("--guidance", metavar="W", type=float, help="1 is none (default: the checkpoint's)")
    text = "BIDS with NIfTI (nifti says the same) or with DICOM series under sourcedata; or rows.parquet and volumes.zarr (default: bids)"
    generate.add_argument("--format", choices=("bids", "nifti", "dicom", "parquet+zarr"), default="bids", help=text)
    text = "draw scans for this segmentation (NIfTI dseg or DICOM-SEG), by a model that knows masks"
    generate.add_argument("--mask", metavar="FILE", type=Path, action=Once, help=text)
    generate.add_argument("--labels", action="store_true", help="each person with its mask")
    generate.add_argument("--sr", action="store_true", help="each person's row also as DICOM-SR, under sourcedata")
    generate.add_argument("--out", metavar="DIR", type=Path, required=True, help="new or empty folder")


def _segment(command: Callable[[str, str], Parser]) -> None:
    segment = command(
        "segment", "A scan's segmentation by a model that knows masks: NIfTI with a BIDS table; volumes as JSON."
    )
    segment.add_argument("checkpoint", metavar="CHECKPOINT", help="name or folder")
    segment.add_argument("scan", metavar="SCAN", type=Path, help="NIfTI; of a torso either of its files")
    segment.add_argument("--force", action="store_true", help="take a scan unlike those the model knows, and say so")
    text = "an attribute that is known, such as age=60; may be repeated"
    segment.add_argument("--set", metavar="NAME=VALUE", type=assignment, action="append", default=[], help=text)
    text = "NIfTI dseg with a BIDS table, or DICOM-SEG with the slices it refers to (default: nifti)"
    segment.add_argument("--format", choices=("nifti", "dicom"), default="nifti", help=text)
    segment.add_argument("--out", metavar="DIR", type=Path, required=True, help="new folder")


def _bench(command: Callable[[str, str], Parser]) -> None:
    bench = command("bench", "Seconds and memory a model or the phantom takes on this machine, as JSON.")
    text = "a model, or phantom (default: head-t1)"
    bench.add_argument("checkpoint", metavar="CHECKPOINT", nargs="?", default="head-t1", help=text)
    bench.add_argument("--runs", metavar="R", type=int, default=5, help="requests timed for each figure (default: 5)")
    text = "what the model reads off this store's test scans, beside a ResNet trained for it"
    bench.add_argument("--infer", metavar="STORE", type=Path, help=text)
    text = "what 4 and 8 network evaluations cost in quality against 32, beside this store's test persons"
    bench.add_argument("--few", metavar="STORE", type=Path, help=text)
    text = "what is waited for: info in a new process, and the app until Explore shows a first picture"
    bench.add_argument("--start", action="store_true", help=text)
    text = (
        "seconds and memory of a sample on each of these grids, between commas, by an untrained model of this size, and how "
        "they grow (default: 96x96x96 to 512x512x256)"
    )
    bench.add_argument("--sizes", metavar="XxYxZ,...", nargs="?", const="", help=text)
    text = (
        "sampling and its parts, training steps, the phantom and the app: seconds, FLOP, share of what the machine can do, energy, "
        "beside MONAI's published latent diffusion network"
    )
    bench.add_argument("--everything", action="store_true", help=text)
    text = (
        "with a recipe in place of the checkpoint: memory, hours and energy of training it on N participants, by ranks, on this CPU as "
        "measured and on accelerators as stated"
    )
    bench.add_argument("--plan", metavar="N", type=int, help=text)
    text = "what-ifs of N in-silico torsos against the truth: the same persons computed with another BMI"
    bench.add_argument("--whatif", metavar="N", type=int, help=text)
    text = "of a model with masks: scans drawn for this store's test masks, masks found in its scans, a liver grown by 30 percent"
    bench.add_argument("--masks", metavar="STORE", type=Path, help=text)
    text = "with --masks: minutes that a plain SegResNet is trained for on the store, to be set beside (default: not at all)"
    bench.add_argument("--segresnet", metavar="MINUTES", type=float, default=0.0, help=text)


def _about_a_scan(command: Callable[[str, str], Parser]) -> None:
    infer = command("infer", "What a scan tells of its person's table: a posterior a column, as JSON.")
    whatif = command("whatif", "A person with other attributes, in a scan or synthetic, as NIfTI files and JSON.")
    for sub, without in ((infer, "the table alone"), (whatif, "the synthetic person of --seed")):
        sub.add_argument("checkpoint", metavar="CHECKPOINT", help="name or folder")
        text = f"NIfTI; of a torso either of its files (without: {without})"
        sub.add_argument("scan", metavar="SCAN", type=Path, nargs="?", help=text)
        sub.add_argument("--force", action="store_true", help="take a scan unlike those the model knows, and say so")
    text = "an attribute that is known, such as age=60; may be repeated"
    infer.add_argument("--set", metavar="NAME=VALUE", type=assignment, action="append", default=[], help=text)
    infer.add_argument("--samples", metavar="N", type=int, default=64, help="draws (default: 64)")
    infer.add_argument("--seed", metavar="S", type=int, default=0, help="of the draws (default: 0)")
    whatif.add_argument("--given", metavar="NAME=VALUE", type=assignment, action="append", default=[], help=text)
    text = "what is to be otherwise, such as bmi=36; may be repeated"
    whatif.add_argument("--set", metavar="NAME=VALUE", type=assignment, action="append", default=[], help=text)
    text = "the person's segmentation as it is to be (NIfTI dseg or DICOM-SEG), by a model that knows masks"
    whatif.add_argument("--mask", metavar="FILE", type=Path, action=Once, help=text)
    text = "one attribute through COUNT values, such as bmi=18:45:10"
    whatif.add_argument("--sweep", metavar="NAME=FROM:TO:COUNT", type=sweep, action=Once, help=text)
    text = "a given attribute of a scan's person that follows the others; may be repeated"
    whatif.add_argument("--free", metavar="NAME", action="append", default=[], help=text)
    text = "an attribute of a synthetic person, not given, that stays as it was drawn; may be repeated"
    whatif.add_argument("--hold", metavar="NAME", action="append", default=[], help=text)
    whatif.add_argument("--seed", metavar="S", type=int, help="of the synthetic person (default: 0)")
    whatif.add_argument("--steps", metavar="K", type=int, help="of a scan each way (default: 32), else evaluations")
    whatif.add_argument("--out", metavar="DIR", type=Path, required=True, help="new folder")


def _judging(command: Callable[[str, str], Parser]) -> None:
    for name, text in (
        ("evaluate", "How good a model is, beside real people: report.json and report.html in DIR; resumes."),
        ("audit", "Whether a model remembers those it was trained on: report.json and report.html in DIR; resumes."),
    ):
        sub = command(name, text)
        sub.add_argument("checkpoint", metavar="CHECKPOINT", help="name or folder")
        sub.add_argument(
            "store", metavar="STORE", type=Path, help="the store it was trained on, whose test persons judge"
        )
        sub.add_argument("--out", metavar="DIR", type=Path, required=True, help="for the report and the work so far")
        sub.add_argument(
            "--n", metavar="N", type=int, help="synthetic persons (default: as test persons, at least 100)"
        )
        sub.add_argument("--seed", metavar="S", type=int, default=0, help="of everything drawn (default: 0)")
        sub.add_argument("--steps", metavar="K", type=int, help=STEPS)
        sub.add_argument("--guidance", metavar="W", type=float, help="1 is none (default: the checkpoint's)")
        sub.add_argument("--card", action="store_true", help="put the figures into the checkpoint's card")
        if name == "evaluate":
            sub.add_argument("--features", metavar="PATH", type=Path, help="an encoder's folder, or MedicalNet weights")
            sub.add_argument(
                "--rivals", action="store_true", help="also fit CTGAN, TVAE, ARF and a copula to the table"
            )
            text = "also train a network to tell made scans from real ones, which takes about ten minutes"
            sub.add_argument("--classifier", action="store_true", help=text)
            text = "also draw M persons by a sampler of training patches, as a baseline (default: 0)"
            sub.add_argument("--local", metavar="M", type=int, default=0, help=text)
            sub.add_argument(
                "--no-cost", dest="cost", action="store_false", help="leave out the published network's cost"
            )
