"""What .streamlit/config.toml promises: this machine alone, requests of its own pages only, bounded uploads, nothing sent elsewhere."""

from __future__ import annotations

import tomllib
from pathlib import Path

CONFIG = Path(__file__).parents[2] / ".streamlit" / "config.toml"


def test_the_app_keeps_to_this_machine() -> None:
    config = tomllib.loads(CONFIG.read_text("utf-8"))
    assert config["server"]["address"] in ("localhost", "127.0.0.1")
    assert config["server"]["enableXsrfProtection"] is True
    assert config["server"]["enableCORS"] is True  # off, it switches the protection off, too
    assert 0 < config["server"]["maxUploadSize"] <= 512
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"
