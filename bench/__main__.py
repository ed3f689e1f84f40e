"""`python -m bench`: measure decoding and encoding, and print ratios to the reference and to zlib.

    --quick     smaller pictures and fewer rounds, for a look
    --json      one object instead of tables

Exit code 1 when the reference could not be had, or when something is slower than it should be.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys

from bench import codecs, encoders, painting, video, wire
from bench.reference import Reference
from spicehop.codecs import is_compiled
from spicehop.errors import OperationError


def main() -> int:
    """Run all parts; returns the exit code."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure the codecs against the reference and zlib.")
    parser.add_argument("--quick", action="store_true", help="smaller pictures and fewer rounds")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    rounds, scale = (3, 3) if arguments.quick else (15, 1)

    problems: list[str] = []
    reference: Reference | None = None
    try:
        reference = Reference.load()
    except OperationError as error:
        problems.append(f"{error}; LZ, QUIC and GLZ are not compared with it")
    if not is_compiled():
        problems.append("the codecs are not compiled, so this measures plain Python: run `make venv` with a C compiler")
    decoded = codecs.measure(reference, rounds, scale)
    encoded = encoders.measure(reference, rounds, scale)
    films = video.measure(10 if arguments.quick else 30, scale)
    messages = wire.measure(rounds, 10_000 if arguments.quick else 50_000)
    painted = painting.measure(20 if arguments.quick else 100)
    problems += [
        f"{result.codec} on {result.picture} is slower than the reference: {result.ratio:.2f}"
        for result in decoded
        if result.goal_missed and result.ratio is not None
    ]
    problems += [result.missed for result in encoded if result.missed is not None]
    problems += messages.goals_missed
    problems += painted.goals_missed
    if arguments.json:
        found = {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "compiled": is_compiled(),
            "codecs": codecs.as_json(decoded),
            "encoders": encoders.as_json(encoded),
            "video": video.as_json(films),
            "painting": painting.as_json(painted),
            "wire": wire.as_json(messages),
            "problems": problems,
        }
        print(json.dumps(found, indent=1))
    else:
        for text in (codecs.table(decoded), encoders.table(encoded), video.table(films), painting.table(painted)):
            print(text, end="\n\n")
        print(wire.table(messages))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
