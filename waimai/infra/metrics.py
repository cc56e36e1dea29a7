"""`GET /metrics` for Prometheus: what this process counts, and the circuits. Not for the open internet."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from waimai.infra.breaker import breakers
from waimai.infra.http import exact_client_address, is_within, networks


class Circuits(Collector):
    """The state of each circuit at the time of asking."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One gauge per circuit."""
        states = GaugeMetricFamily("waimai_breaker_state", "0 closed, 1 probing, 2 open", labels=["breaker"])
        held = GaugeMetricFamily("waimai_breaker_held", "Whether somebody holds it open", labels=["breaker"])
        for name, breaker in breakers.items():
            look = breaker.look()
            states.add_metric([name], look.state)
            held.add_metric([name], look.held)
        yield states
        yield held

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: Redis isn't asked when this is registered."""
        yield from ()


REGISTRY.register(Circuits())


def metrics(request: HttpRequest) -> HttpResponse:
    """All metrics, for callers in `WAIMAI_METRICS_NETWORKS`; there is no such page for anybody else."""
    if not is_within(exact_client_address(request), networks(settings.WAIMAI_METRICS_NETWORKS)):
        raise Http404
    return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
