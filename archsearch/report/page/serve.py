"""HTTP server of the page, for studies that are running."""

import gzip
import ipaddress
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from archsearch.ablation.analysis import Report
from archsearch.ablation.figures import ablation_data
from archsearch.errors import OptionError
from archsearch.report.page.follow import Follower
from archsearch.report.page.html import page_content, page_html

#: Content policy: the page may run its own scripts (plotly.js compiles functions for WebGL) and ask this server.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'unsafe-inline' 'unsafe-eval'",
        "style-src 'unsafe-inline'",
        "img-src data: blob:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)


def is_loopback(host: str | None) -> bool:
    """Return whether a host name or address can only be this machine.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


class Server(ThreadingHTTPServer):
    """Server of one page and its updates; it writes nothing."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, host: str, port: int, follower: Follower, ablations: list[Report]) -> None:
        """Bind the port.

        Args:
            host: Host name or address to bind to.
            port: Port number; 0 for any free one.
            follower: Follower of the studies.
            ablations: Ablations, shown below the studies.

        Raises:
            OptionError: The port is taken, or the host is not this machine.
        """
        self.follower, self.host = follower, host
        self.ablations = [ablation_data(report) for report in ablations]
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OptionError(
                f"cannot serve on {host} port {port}: {reason}; give --port another number, or 0 for any that is free"
            ) from None

    @property
    def url(self) -> str:
        """URL of the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error, unless the browser merely closed the connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def content(self) -> str:
        """Return the page without trials, which it then asks for."""
        content = page_content(self.follower.views(), self.ablations, trials=False)
        return page_html(content | {"live": {"run": self.follower.run, "version": 0}})


class Handler(BaseHTTPRequestHandler):
    """Handler of GET requests for the page and its updates."""

    server: Server
    server_version, sys_version = "archsearch", ""

    def do_GET(self) -> None:
        """Send the page, its updates, or an error."""
        if not self._meant_for_us():
            self._send(403, "text/plain", "this server answers on its own address only")
            return
        parts = urlsplit(self.path)
        if parts.path == "/":
            self._send(200, "text/html", self.server.content())
        elif parts.path == "/data":
            self._news(parse_qs(parts.query))
        else:
            self._send(404, "text/plain", "there is nothing here; the page is at /")

    def _news(self, query: dict[str, list[str]]) -> None:
        follower = self.server.follower
        try:
            run, version = query["run"][0], int(query["version"][0])
            have = [int(count) for count in query.get("have", [""])[0].split(",") if count]
            if min([version, *have]) < 0 or len(have) != len(follower.views()):
                raise ValueError
        except (KeyError, ValueError):
            self._send(400, "text/plain", "ask for /data?run=RUN&version=N&have=N,N,...")
            return
        if run != follower.run:
            self._send(410, "text/plain", "another server answers here now; load the page again")
            return
        self._send(200, "application/json", follower.news(version, have))

    def _meant_for_us(self) -> bool:
        """Check the host name: another site may reach a loopback server under its own name (DNS rebinding)."""
        try:
            name = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        except ValueError:
            return False
        return not is_loopback(self.server.host) or is_loopback(name)

    def _send(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        if "gzip" in self.headers.get("Accept-Encoding", "") and len(body) > 100_000 and not self._near():
            body = gzip.compress(body, 1)
            self.send_header("Content-Encoding", "gzip")
        for name, value in {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _near(self) -> bool:
        """Return whether the browser is on this machine, where compressing takes longer than sending."""
        return is_loopback(self.client_address[0])

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""
