"""Makes models of all kinds and audits them, a line of JSON per model; tables are made of those.

scripts/calibrate                    # goes on where it was stopped
scripts/calibrate --quick            # three clean models and three with a mark, checked
scripts/calibrate --tables           # what there is so far, without making more
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

LINES = Path(".cache/calibration/models.jsonl")
RESULTS = "results.json"
QUICK = (0, 2, 3)
"""Seeds of `--quick`: models of 10, 4 and 4 classes that take a few seconds each."""
CLEAN, OTHERS, TURNS_OF_ALL = 160, 20, 6
FIRST = (
    "clean",
    *("mark, 100 %", "mark, 70 %", "mark, 50 %", "mark anywhere, 100 %"),
    *("mark, not used", "mark in all classes", "letterboxes"),
    *("objects anywhere", "objects in the middle"),
)


def plan() -> Iterator[tuple[str, int]]:
    """Kinds and seeds, dealt in turns so that wherever one stops every kind has some.

    After the first turns come clean models, hard negatives and marks in most images alone: of those
    it takes many, as what is asked of them is rare. The rest of the others comes last.
    """
    from calibration.kinds import KINDS

    rest = [name for name in KINDS if name not in FIRST]
    yield from _dealt(range(TURNS_OF_ALL), list(KINDS))
    yield from _dealt(range(TURNS_OF_ALL, OTHERS), list(FIRST))
    yield from _dealt(range(TURNS_OF_ALL, OTHERS), rest)


def _dealt(turns: range, names: Sequence[str]) -> Iterator[tuple[str, int]]:
    for turn in turns:
        for name in names:
            each = CLEAN // OTHERS if name == "clean" else 1
            yield from ((name, each * turn + number) for number in range(each))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The models that are done; a line that was cut short is none."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def run(path: Path, most: int | None) -> None:
    """Makes the models that are not there yet.

    Args:
      path: The file of lines.
      most: How many at most; None makes all.
    """
    from calibration.kinds import KINDS
    from calibration.measuring import measure

    path.parent.mkdir(parents=True, exist_ok=True)
    done = {(each["kind"], each["seed"]) for each in read_lines(path)}
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        with path.open("a") as file:
            file.write("\n")
    left = [each for each in plan() if each not in done][:most]
    for number, (name, seed) in enumerate(left, 1):
        started = time.process_time()
        found = measure(KINDS[name], seed)
        with path.open("a") as file:
            file.write(json.dumps(found) + "\n")
        used = time.process_time() - started
        print(f"{number} of {len(left)}: {name}, seed {seed}: {used:.1f} s", file=sys.stderr)


def publish(path: Path, folder: Path) -> None:
    """Writes what all models come to: `results.json` and `power.svg`; prints the tables.

    Thresholds were chosen on even seeds: odd ones are what a reader can rely on.
    """
    from calibration.outcomes import HEADINGS, Outcome, table
    from calibration.power import draw

    outcomes = [Outcome.of(line) for line in read_lines(path)]
    outcomes.sort(key=lambda each: (each.kind, each.seed))
    models = ",\n".join(f"  {json.dumps(each.to_json())}" for each in outcomes)
    (folder / RESULTS).write_text(f"[\n{models}\n]\n")
    (folder / "power.svg").write_text(draw(outcomes))
    for name, chosen in (
        ("odd seeds", [each for each in outcomes if each.seed % 2]),
        ("even seeds", [each for each in outcomes if not each.seed % 2]),
        ("all", outcomes),
    ):
        print(f"\n{name}\n")
        print(f"| | {' | '.join(HEADINGS)} |")
        print(f"| --- |{' --- |' * len(HEADINGS)}")
        for kind, row in table(chosen).items():
            print(f"| {kind} | {' | '.join(row)} |")


def main() -> None:
    """Makes models, then writes and prints what they come to."""
    parser = argparse.ArgumentParser(description="Measures how well shortcuts are found.")
    parser.add_argument("--lines", type=Path, default=LINES, help="the file of models")
    parser.add_argument("--most", type=int, help="stop after so many models")
    parser.add_argument("--tables", action="store_true", help="make no models")
    parser.add_argument("--quick", action="store_true", help="six models, and what they must show")
    arguments = parser.parse_args()
    if not arguments.tables:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.experimental.enable_op_determinism()
    if arguments.quick:
        sys.exit(check_quickly())
    if not arguments.tables:
        run(arguments.lines, arguments.most)
    publish(arguments.lines, Path(__file__).parent)


def check_quickly() -> int:
    """Makes three clean models and three with a mark.

    Returns:
      1 where a clean one is said to use something, or a mark that was learned is not, else 0.
    """
    from calibration.kinds import KINDS
    from calibration.measuring import measure
    from calibration.outcomes import Outcome, alarms, is_found

    wrong = 0
    for name in ("clean", "mark, 100 %"):
        for seed in QUICK:
            outcome = Outcome.of(measure(KINDS[name], seed))
            right = not alarms(outcome, used=True)
            if name != "clean" and outcome.counts:
                right = right and is_found(outcome, "place", used=True)
            wrong += not right
            print(f"{name}, seed {seed}: {'as it should be' if right else 'WRONG'} {outcome}")
    return int(wrong > 0)


if __name__ == "__main__":
    main()
