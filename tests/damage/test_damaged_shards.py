"""The whole corpus of damaged shards: nothing hangs, nothing is lost but what was damaged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "check_damaged_shards.py"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs /proc, for memory")
def test_every_damaged_shard_costs_what_was_damaged_and_no_more() -> None:
    done = subprocess.run(  # noqa: S603 - this Python and this project
        [sys.executable, PROGRAM], check=True, capture_output=True, text=True, timeout=600
    )
    result = json.loads(done.stdout)
    assert result["wrong"] == []
    assert result["shards"] >= 300
    assert result["slowest_seconds"] < 10
    assert result["memory_growth_mib"] < 1024
