"""DICOM series to volumes: :mod:`files` finds the files, :mod:`images` reads their headers, :mod:`pixels` their pixels;
:mod:`series` puts those of a still scan in place, :mod:`cine` those of a beating heart."""

from engine.imaging.dicom.cine import read_cine
from engine.imaging.dicom.files import DAMAGED
from engine.imaging.dicom.images import TAGS
from engine.imaging.dicom.series import LPS_TO_RAS, Series, read_dixon, read_series

__all__ = ["DAMAGED", "LPS_TO_RAS", "TAGS", "Series", "read_cine", "read_dixon", "read_series"]
