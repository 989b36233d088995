"""Sends what tallies hold, every so often and at the end, from a thread of its own."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from opentelemetry.sdk.metrics.export import Metric, MetricExportResult, MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from parade.wire.tally import Tally

MAX_POINTS: Final = 2000
"""Points of one export: about 1 MB."""

_SCOPE: Final = InstrumentationScope("parade")


class TallyExporter:
    """The thread and the tallies. It begins with the first tally: a process that counts nothing pays nothing.

    OpenTelemetry's own reader exports nothing while no instrument was used, and lets nobody add to what it exports.
    """

    def __init__(self, exporter: Any, resource: Resource, interval: float) -> None:
        """Starts without tallies.

        Args:
            exporter: A metric exporter that may be used from several threads.
            resource: Who counts.
            interval: Seconds from one export to the next.
        """
        self._exporter = exporter
        self._resource = resource
        self._interval = interval
        self._tallies: list[Tally] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._unsent = False

    def add(self, tally: Tally) -> None:
        """Exports a tally from now on."""
        self._tallies.append(tally)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tallies", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Sends what was not sent, and stops. Where it cannot be sent the exporter is shut down, so that nobody waits for it again."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            self._export()
        if not self._export():
            self._exporter.shutdown()

    def _export(self) -> bool:
        # Counts are since the beginning: what one export could not tell, the next one of everything does.
        everything, self._unsent = self._unsent, False
        for tally in list(self._tallies):
            for metric in tally.read(everything=everything):
                for part in _parts(metric):
                    data = MetricsData([ResourceMetrics(self._resource, [ScopeMetrics(_SCOPE, [part], "")], "")])
                    if self._exporter.export(data) is not MetricExportResult.SUCCESS:
                        self._unsent = True
                        return False
        return True


def _parts(metric: Metric) -> Iterator[Metric]:
    data: Any = metric.data
    for begin in range(0, len(data.data_points), MAX_POINTS):
        yield replace(metric, data=replace(data, data_points=data.data_points[begin : begin + MAX_POINTS]))
