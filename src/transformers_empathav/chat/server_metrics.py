"""Figures of a server for Prometheus: numbers alone, nothing that anybody said."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from .reply import Reply


SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


class Metrics:
    """The figures of one server, in a registry of its own."""

    def __init__(self):
        self.registry = CollectorRegistry()
        of = {"registry": self.registry}
        self.requests = Counter("empathav_requests", "Requests, by how they ended.", ["status"], **of)
        self.tokens = Counter("empathav_tokens", "Tokens: prompt, those of it that were cached, reply.", ["of"], **of)
        self.messages = Counter("empathav_messages", "Earlier messages: known, or read anew.", ["of"], **of)
        self.first = Histogram("empathav_first_piece_seconds", "Until the first words.", buckets=SECONDS, **of)
        self.whole = Histogram("empathav_request_seconds", "Until the end.", buckets=SECONDS, **of)
        self.active = Gauge("empathav_active_requests", "Requests that are worked on or wait.", **of)
        self.rows = Gauge("empathav_batch_rows", "Replies that are being written in one batch.", **of)
        self.known = Gauge("empathav_known_beginnings", "Beginnings of conversations that are known.", **of)
        self.known_bytes = Gauge("empathav_known_beginnings_bytes", "Bytes that they take.", **of)

    def replied(self, reply: Reply):
        for name, count in reply.tokens.items():
            self.tokens.labels(name).inc(count)

    def text(self) -> bytes:
        return generate_latest(self.registry)
