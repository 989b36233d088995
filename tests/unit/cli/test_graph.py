"""How a workflow is drawn: its layers, its edges, and what stands on them."""

from xml.etree import ElementTree as ET

import pytest

from parade.cli.graph_layout import Layout, direct_needs, lay_out
from parade.cli.graph_svg import svg
from parade.cli.mermaid import mermaid
from parade.v1 import scheduler_pb2
from parade.v1.step_kind_pb2 import StepKind

SVG = "{http://www.w3.org/2000/svg}"


def graph(**needs: str) -> scheduler_pb2.WorkflowGraph:
    """Returns a graph whose steps need those that are named, with a blank between."""
    steps = [scheduler_pb2.WorkflowStep(id=step, call=f"agent.{step}", needs=needed.split()) for step, needed in needs.items()]
    return scheduler_pb2.WorkflowGraph(name="flow", description="What it does.", steps=steps)


def every_kind() -> scheduler_pb2.WorkflowGraph:
    """Returns a graph that has a step of each kind."""
    flow = graph(ask="", wait="ask", stop="ask", first="ask wait stop", sub="first", poll="sub")
    for step, kind in zip(flow.steps, ("APPROVAL", "EVENT", "SIGNAL", "RACE", "RUN", "CALL"), strict=True):
        step.kind = StepKind.Value(f"STEP_KIND_{kind}")
    ask, wait, stop, first, sub, poll = flow.steps
    ask.call = wait.call = stop.call = first.call = ""
    ask.detail, wait.detail, stop.detail, sub.call = "", "order.paid", "stop", "prices"
    first.race.extend(["ask", "wait", "stop"])
    poll.loop, poll.compensation = True, "agent.undo"
    return flow


def parsed(drawing: str) -> ET.Element:
    return ET.fromstring(drawing)  # noqa: S314  # the test made it


def texts(drawing: str) -> list[str]:
    return [element.text or "" for element in parsed(drawing).iter(f"{SVG}text")]


def boxes(layout: Layout) -> dict[str, tuple[float, float]]:
    return {step: (box.x, box.y) for step, box in layout.boxes.items()}


def test_a_need_that_follows_from_another_is_not_drawn() -> None:
    assert direct_needs({"a": [], "b": ["a"], "c": ["a", "b"], "d": ["b", "a", "c"]}) == {"a": [], "b": ["a"], "c": ["b"], "d": ["c"]}


def test_a_step_stands_below_all_that_it_needs() -> None:
    needs = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "late": ["d", "alone"], "alone": []}
    layout = lay_out(needs, dict.fromkeys(needs, (100.0, 40.0)))

    for step, needed in needs.items():
        assert all(layout.boxes[before].y + layout.boxes[before].height < layout.boxes[step].y for before in needed)
    assert layout.boxes["b"].y == layout.boxes["c"].y
    assert {(line.start, line.end) for line in layout.lines} == {(before, step) for step, needed in needs.items() for before in needed}


def test_no_box_and_no_line_lies_on_a_box() -> None:
    needs = {"a": [], **{f"b{n}": ["a"] for n in range(7)}, "c": ["b0", "b3"], "d": ["c", "b6"], "e": ["d"], "f": ["b1", "e"]}
    layout = lay_out(needs, {step: (60.0 + 20 * len(step), 40.0) for step in needs})

    found = list(layout.boxes.values())
    for index, one in enumerate(found):
        assert one.x >= 0
        assert one.x + one.width <= layout.width
        assert one.y + one.height <= layout.height
        for other in found[index + 1 :]:
            assert one.y != other.y or one.x + one.width < other.x or other.x + other.width < one.x
    for line in layout.lines:
        for x, top, bottom in line.passages:
            assert not any(box.y < bottom and top < box.y + box.height and box.x < x < box.x + box.width for box in found)


def test_the_drawing_has_every_step_and_marks_what_is_special() -> None:
    flow = graph(get="", tell="get")
    flow.steps[0].for_each = True
    flow.steps[1].condition = "size(steps.get.output) > 1"

    drawing = svg(flow)

    assert texts(drawing) == ["get", "agent.get", "for each item", "tell", "agent.tell", "if size(steps.get.output) > 1"]
    root = parsed(drawing)
    assert [path.get("class") for path in root.iter(f"{SVG}path") if path.get("class")] == ["need"]
    assert root.find(f"{SVG}title").text == "flow"  # type: ignore[union-attr]
    assert "prefers-color-scheme: dark" in drawing
    assert "http" not in drawing.replace("http://www.w3.org/2000/svg", "")


def test_names_in_a_drawing_cannot_break_out_of_it() -> None:
    flow = graph()
    flow.name = "</title><script>alert(1)</script>"
    flow.steps.add(id="a<b>&", call='x."y"', description="bell \x07 and \ufffe", condition="'<script>' in [\"]]>\"]\n|| true")

    drawing = svg(flow)

    assert "<script>" not in drawing
    assert texts(drawing) == ["a<b>&", 'x."y"', "if '<script>' in [\"]]>\"] || true"]


def test_a_long_condition_is_cut() -> None:
    flow = graph(a="")
    flow.steps[0].condition = "true && " * 100

    assert len(texts(svg(flow))[-1]) < 60


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "needs",
    [
        {f"s{n}": " ".join(f"s{before}" for before in range(max(0, n - 3), n)) for n in range(1_000)},
        {**{f"a{n}": "" for n in range(200)}, **{f"b{n}": " ".join(f"a{before}" for before in range(200)) for n in range(200)}},
        {
            **{f"c{n}": f"c{n - 1}" if n else "" for n in range(500)},
            **{f"x{n}": "c0" for n in range(499)},
            "end": " ".join(["c499", *(f"x{n}" for n in range(499))]),
        },
    ],
    ids=["long", "dense", "far"],
)
def test_the_largest_graphs_are_drawn_in_seconds(needs: dict[str, str]) -> None:
    drawing = svg(graph(**needs))

    assert len(texts(drawing)) == 2 * len(needs)


def test_mermaid_has_a_node_for_every_step_and_an_arrow_for_every_need() -> None:
    flow = graph(get="", end="get")
    flow.steps[0].for_each = True
    flow.steps[1].condition = 'inputs.kind == "a#b" && 1 < 2'

    assert mermaid(flow) == (
        "---\n"
        'title: "flow"\n'
        "---\n"
        "flowchart TD\n"
        '    step_get[["get<br/>agent.get<br/>for each item"]]\n'
        '    step_end["end<br/>agent.end<br/>if inputs.kind == #quot;a#35;b#quot; #amp;#amp; 1 #lt; 2"]:::conditional\n'
        "    step_get --> step_end\n"
        "    classDef conditional stroke-dasharray: 5 4\n"
    )


def test_mermaid_has_no_more_than_it_needs() -> None:
    assert "classDef" not in mermaid(graph(a="", b="a"))


def test_mermaid_shows_what_waits_races_runs_and_turns() -> None:
    chart = mermaid(every_kind())

    assert '    step_ask(["ask<br/>approval"])\n' in chart
    assert '    step_wait(["wait<br/>event order.paid"])\n' in chart
    assert '    step_stop(["stop<br/>signal stop"])\n' in chart
    assert '    step_first{{"first<br/>the first to succeed"}}\n' in chart
    assert '    step_sub[/"sub<br/>run prices"/]\n' in chart
    assert '    step_poll["poll<br/>agent.poll<br/>again and again<br/>undone by agent.undo"]\n' in chart
    arrows = [line.strip() for line in chart.splitlines() if "->" in line]
    assert arrows == [
        "step_ask --> step_wait",
        "step_ask --> step_stop",
        "step_ask -.-> step_first",
        "step_wait -.-> step_first",
        "step_stop -.-> step_first",
        "step_first --> step_sub",
        "step_sub --> step_poll",
        "step_poll --> step_poll",
    ]


def test_the_drawing_shows_what_waits_races_runs_and_turns() -> None:
    drawing = svg(every_kind())

    lines = texts(drawing)
    assert [line for line in lines if line in ("approval", "event order.paid", "signal stop", "run prices", "the first to succeed")] == [
        "approval",
        "event order.paid",
        "signal stop",
        "the first to succeed",
        "run prices",
    ]
    assert lines[-4:] == ["poll", "agent.poll", "again and again", "undone by agent.undo"]
    classes = [element.get("class") for element in parsed(drawing).iter() if element.get("class") not in (None, "id", "need")]
    assert classes == ["need racing"] * 3 + ["step", "step", "step", "step race", "step run", "step"]
    rounded = [float(element.get("rx", "0")) for element in parsed(drawing).iter(f"{SVG}rect")]
    assert [radius > 6 for radius in rounded] == [True, True, True, False, False, False]
    assert len([path for path in parsed(drawing).iter(f"{SVG}path") if path.get("class") == "need"]) == 5  # four needs and the loop
