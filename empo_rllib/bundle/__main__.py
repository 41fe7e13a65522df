"""`python -m empo_rllib.bundle FOLDER`: checks a bundle and tells what is in it."""

from __future__ import annotations

import sys

from .bundle import Bundle, load_bundle
from .errors import BundleError

_USAGE = "usage: python -m empo_rllib.bundle FOLDER (in a bundle: python -m empo_bundle .)"


def render(bundle: Bundle) -> str:
    """Returns what a bundle says of itself, as text."""
    description = bundle.description
    lines = [("environment", description.get("environment")), ("agents", bundle.agents)]
    for name, policy in bundle.policies.items():
        actions = ", ".join(policy.action_names) or policy.rule.kind
        lines.append((f"policy {name}", actions))
    lines += [(key, description.get(key)) for key in ("provenance", "check")]
    return "\n".join(f"{key:12} {value}" for key, value in lines)


def printable(text: str) -> str:
    """Returns text that cannot steer a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def main() -> int:
    """Returns the exit code: 0, or 2 after a message."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(_USAGE, file=sys.stderr)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    try:
        print(printable(render(load_bundle(sys.argv[1]))))
    except BundleError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
