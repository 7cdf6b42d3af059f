"""Technical terms that stay, each in a sentence, for the hints beside where they stand."""

from __future__ import annotations

TERMS = {
    "guidance": "how strongly a drawn scan is pulled towards what was asked for; 1 is not at all, more makes effects stronger",
    "seed": "the number from which all chance is made: the same seed, settings and weights draw the same person again",
    "steps": "in how many steps noise becomes a scan: more are slower and finer",
    "slope": "by how much a measure changes for one unit of the attribute",
    "interval": "the range that holds the true value in 95 of 100 such studies",
    "percentile": "of a hundred comparable persons, how many have less",
    "AUC": "how often the right one of a pair is told; 50 % is guessing, 100 % is certain",
    "PDFF": "proton density fat fraction, the share of fat in what MRI sees",
    "SAT": "subcutaneous adipose tissue, the fat under the skin",
    "VAT": "visceral adipose tissue, the fat around the organs of the abdomen",
    "PSNR": "how like two scans are voxel by voxel, in decibels; 20 is rough, 40 hardly told apart",
    "SSIM": "how like two scans are in structure, from 0 to 1",
    "membership": "a test whether somebody who holds a scan could tell that its person was in the training",
    "radiomics": "figures of texture and brightness, as radiologists' software computes them",
    "reconstruction": "what comes back when the model compresses a scan and opens it again",
}


def terms(*names: str) -> str:
    """The hint that explains these terms."""
    return "  \n".join(f"**{name[:1].upper()}{name[1:]}**: {TERMS[name]}." for name in names)
