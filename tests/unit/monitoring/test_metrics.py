"""What a process tells of itself, in Prometheus's text format; and ``docs/operations.md`` tells of every metric."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from jabba.monitoring.histogram import Histogram
from jabba.monitoring.metrics import PROJECTOR, RELAY, WEB, WORKER, Exposition, Shown
from web.process_metrics import OTHER, Traffic

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"
HEAD = "| metric | kind | labels | what |\n| --- | --- | --- | --- |\n"
TABLES = {"web": WEB, "worker": WORKER, "projector": PROJECTOR, "relay": RELAY}


def table(metrics: tuple[Shown, ...]) -> str:
    return HEAD + "".join(
        f"| `{one.name}` | {one.kind} | {' '.join(f'`{label}`' for label in one.labels)} | {one.what} |\n"
        for one in metrics
    )


@pytest.mark.parametrize("process", TABLES)
def test_the_page_tells_of_every_metric(process: str) -> None:
    rows = PAGE.read_text().partition(f"<!-- metrics of {process} -->\n")[2].partition("\n\n")[0].rstrip("\n") + "\n"
    assert rows == table(TABLES[process]), f"write it:\n{table(TABLES[process])}"


def test_alarms_are_made_of_metrics_that_there_are() -> None:
    rows = PAGE.read_text().partition("<!-- alarms -->\n")[2].partition("\n\n")[0]
    known = {one.name for one in (*WORKER, *PROJECTOR, *RELAY, *WEB)} | {"process_start_time_seconds"}
    found = re.findall(r"\b(?:jabba|process)_\w+", rows)
    assert len(found) >= rows.count("\n") - 1
    assert set(found) <= known


def test_names_say_what_is_counted() -> None:
    for one in (*WORKER, *PROJECTOR, *RELAY, *WEB):
        assert one.name.startswith("jabba_")
        assert one.name.endswith("_total") is (one.kind == "counter")
        assert one.name.endswith("_seconds") or one.kind != "histogram"


def samples(exposition: Exposition) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(exposition.text().decode())
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def test_readings_are_shown_with_their_labels_and_durations_add_up() -> None:
    seconds = Histogram()
    for taken in (0.0005, 0.001, 0.3, 1000.0):
        seconds.add(taken)
    shown = (Shown("jabba_a_total", "counter", "A.", ("x",)), Shown("jabba_b_seconds", "histogram", "B."))
    found = samples(Exposition(shown, {"jabba_a_total": lambda: {("y",): 3}, "jabba_b_seconds": lambda: seconds}))
    assert found["jabba_a_total", "y"] == 3
    assert found["jabba_b_seconds_bucket", "0.001"] == 2
    assert found["jabba_b_seconds_bucket", "0.25"] == 2
    assert found["jabba_b_seconds_bucket", "0.5"] == 3
    assert found["jabba_b_seconds_bucket", "300.0"] == 3
    assert found["jabba_b_seconds_bucket", "+Inf"] == found["jabba_b_seconds_count",] == 4
    assert found["jabba_b_seconds_sum",] == pytest.approx(1000.3015)
    assert "process_resident_memory_bytes" in {name for name, *_ in found}


def test_a_reading_that_no_metric_has_is_refused() -> None:
    with pytest.raises(ValueError, match="are not those of"):
        Exposition((), {"jabba_a": lambda: 1.0})


def test_requests_for_anything_share_one_name() -> None:
    traffic = Traffic()
    traffic.answered("GET", "/v1/jobs/{id}", 200, 0.1)
    traffic.answered("PURGE", None, 404, 0.1)
    traffic.answered("GET", None, 404, 0.1)
    traffic.answered("GET", "/v1/events", 200, None)
    assert traffic.requests == {
        ("GET", "/v1/jobs/{id}", "200"): 1,
        (OTHER, OTHER, "404"): 2,
        ("GET", "/v1/events", "200"): 1,
    }
    assert set(traffic.seconds) == {("GET", "/v1/jobs/{id}"), (OTHER, OTHER)}
