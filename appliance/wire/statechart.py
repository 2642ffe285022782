"""Draws `states.md` from the tables in `states`: `python -m appliance.wire.statechart >
appliance/wire/states.md`.
"""

from collections.abc import Mapping

from .rules import RULES
from .states import CLIENT_GETS, CLIENT_SENDS, ON_ANSWER, ON_REQUEST, State


def _diagram(edges: Mapping[tuple[State, State], list[str]]) -> list[str]:
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> START"]
    for (before, after), labels in edges.items():
        if before is not after:
            lines.append(f"    {before.name} --> {after.name}: {', '.join(labels)}")
    return [*lines, "    CLOSED --> [*]", "```", ""]


def describe() -> str:
    """The tables as Markdown, with a diagram of each side."""
    edges: dict[tuple[State, State], list[str]] = {}
    for state, row in ON_REQUEST.items():
        for op, outcome in row.items():
            if isinstance(outcome, State):
                edges.setdefault((state, outcome), []).append(RULES[op].request.name)
    for answer, steps in ON_ANSWER.items():
        for before, after in steps.items():
            if answer != "quit" or before is not State.CLOSED:
                edges.setdefault((before, after), []).append(answer)
    lines = [
        "# The states of a link",
        "",
        "Drawn by `python -m appliance.wire.statechart` from the tables in `states.py`.",
        "",
    ]
    lines += [f"- **{state.name}**: {state.value}" for state in State]
    lines += ["", "## The server's side", "", *_diagram(edges)]
    lines += ["| request | " + " | ".join(state.name for state in ON_REQUEST) + " |"]
    lines += ["|---|" + "---|" * len(ON_REQUEST)]
    for op, rule in RULES.items():
        cells = (row[op] for row in ON_REQUEST.values())
        shown = (f"to {cell.name}" if isinstance(cell, State) else f"quit: {cell}" for cell in cells)
        lines.append(f"| {op} {rule.request.name} | " + " | ".join(shown) + " |")
    edges = {}
    for sends in (CLIENT_SENDS, CLIENT_GETS):
        for before, steps_of in sends.items():
            for label, after in steps_of.items():
                edges.setdefault((before, after), []).append(label)
    lines += ["", "## The client's side", "", *_diagram(edges)]
    return "\n".join(lines)


if __name__ == "__main__":
    print(describe(), end="")
