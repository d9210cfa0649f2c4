"""Fetches http and https addresses: within a total time and size, and without being sent into a private network."""

import http.client
import io
import ipaddress
import socket
import ssl
import threading
import time
from urllib.parse import urljoin, urlsplit

from .media_limits_empathav import MediaError


_MAX_REDIRECTS = 5
_BLOCK = 1 << 16
_AGENT = "Mozilla/5.0 (transformers-empathav)"


def fetch(source, url, scheme, allow_urls):
    """
    Fetch an address. Proxies are not used, since what they connect to cannot be checked.

    A private address is fetched only where the caller has written it out (`http://192.168.0.5/`, `localhost`). A name
    that leads to a private address, or a redirect to one, is refused.

    Args:
        source (`Source`): The source, with its limits.
        url (`str`): The address.
        scheme (`str`): Its scheme, in lower case.
        allow_urls (`bool`): Whether `http://` and `https://` addresses may be fetched.

    Returns:
        `io.BytesIO`: the content.

    Raises:
        `MediaError`: If it is not allowed, is beyond the limits, or cannot be fetched.
    """
    if not allow_urls:
        raise source.error("addresses are fetched only if allowed; pass allow_urls=True, or give a local file.")
    if scheme not in ("http", "https"):
        raise source.error("only http:// and https:// are fetched; download the file and give its path.")
    ends = time.monotonic() + source.limits.max_fetch_seconds
    trusted = None  # known once the address has been read
    for _ in range(_MAX_REDIRECTS + 1):
        try:
            trusted = is_written_out(url) if trusted is None else False
            answer = _Request(source, url, ends, trusted).run()
        except MediaError:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            if time.monotonic() >= ends:
                raise _too_slow(source) from None
            raise source.error(
                f"it could not be fetched ({error or type(error).__name__}); check the address, or give a local file."
            ) from None
        if isinstance(answer, io.BytesIO):
            return answer
        url = urljoin(url, answer)
        if urlsplit(url).scheme not in ("http", "https"):
            raise source.error(
                f"it redirects to {url:.100}, and only http:// and https:// are followed; download the file and give"
                " its path."
            )
    raise source.error(f"it redirects more than {_MAX_REDIRECTS} times; check the address, or give a local file.")


def is_written_out(url):
    """Whether the host of an address is itself a number, or `localhost`."""
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def is_public(number):
    """Whether an IP address is one of the open internet, also in the forms in which IPv6 carries IPv4."""
    address = ipaddress.ip_address(number.partition("%")[0])
    carried = [getattr(address, name, None) for name in ("ipv4_mapped", "sixtofour")]
    if address.version == 6 and address in ipaddress.ip_network("64:ff9b::/96"):
        carried.append(ipaddress.ip_address(int(address) & 0xFFFFFFFF))
    return all(
        one.is_global and not (one.is_multicast or one.is_reserved) for one in ([*filter(None, carried)] or [address])
    )


def _too_slow(source):
    return source.error(
        f"fetching it takes longer than the limit of {source.limits.max_fetch_seconds:.10g} s; download the file and"
        " give its path, or raise MediaLimits.max_fetch_seconds."
    )


class _Request:
    """One request, to the address that was checked and no other."""

    def __init__(self, source, url, ends, trusted):
        self.source, self.url, self.ends, self.trusted = source, url, ends, trusted

    def left(self):
        """Seconds that are left."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise _too_slow(self.source)
        return left

    def run(self):
        """The content as `io.BytesIO`, or the address to which the answer redirects."""
        parts = urlsplit(self.url)
        secure, host = parts.scheme.lower() == "https", parts.hostname
        if not host or parts.username is not None:
            raise self.source.error("it names no host, or a password with it; give http://host/path.")
        port = parts.port or (443 if secure else 80)
        plain = self._connect(host, port)
        watched = plain.dup()  # stays valid when TLS takes the socket over
        watch = threading.Timer(self.left(), self._cut, [watched])
        watch.daemon = True
        watch.start()
        try:
            if secure:
                plain = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
            connection = http.client.HTTPConnection(host, port)
            connection.sock = plain
            path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
            shown = f"[{host}]" if ":" in host else host
            headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity", "Connection": "close"}
            headers["Host"] = shown if parts.port is None else f"{shown}:{port}"
            connection.request("GET", path.replace(" ", "%20"), headers=headers)
            return self._read(connection.getresponse())
        finally:
            watch.cancel()
            watched.close()
            plain.close()

    @staticmethod
    def _cut(watched):
        try:
            watched.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended by itself

    def _connect(self, host, port):
        found, error = _resolve(host, port, self.left()), None
        numbers = list(dict.fromkeys(entry[4][0] for entry in found))
        if not self.trusted and (private := [number for number in numbers if not is_public(number)]):
            raise self.source.error(
                f"it leads to {host} ({private[0]}), a private address, which is not fetched; download the file and"
                " give its path."
            )
        for number in numbers:
            try:
                return socket.create_connection((number, port), self.left())
            except OSError as fault:
                error = fault
        raise error or OSError(f"{host} has no address")

    def _read(self, response):
        if 300 <= response.status < 400 and (target := response.getheader("Location")):
            return target
        if response.status != 200:
            raise OSError(f"HTTP {response.status} {response.reason}")
        stated = response.getheader("Content-Length", "")
        stated = int(stated) if stated.isdecimal() else None
        self.source.check(stated or 0, "bytes or more", "max_bytes")
        held = io.BytesIO()
        while block := response.read1(_BLOCK):
            held.write(block)
            self.source.check(held.tell(), "bytes or more", "max_bytes")
            self.left()
        self.left()
        if stated is not None and held.tell() < stated:
            raise OSError(f"the connection ended after {held.tell()} of {stated} bytes")
        return held


def _resolve(host, port, seconds):
    """`socket.getaddrinfo` within a time, which it does not know."""
    found = []

    def ask():
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    if not found:
        raise TimeoutError(f"{host} is not found in time")
    if isinstance(found[0], Exception):
        raise OSError(f"{host}: {found[0]}")
    return found[0]
