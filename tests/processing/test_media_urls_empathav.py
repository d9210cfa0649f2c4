"""Addresses: fetched where allowed, within a total time and size, never into a private network by another's will."""

import functools
import http.server
import socket
import threading
import time

import numpy as np
import pytest

from clips import write_clip
from transformers_empathav.processing import media_urls_empathav
from transformers_empathav.processing.media_empathav import MediaError, MediaLimits, load_clip
from transformers_empathav.processing.media_urls_empathav import is_public, is_written_out


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4", seconds=1)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files, and under their names: redirects to `to`, an answer that drips, one that lies about its length."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        kind, _, rest = self.path.lstrip("/").partition("?")
        self.server.asked.append((self.path, self.headers["Host"]))
        if kind == "go":
            self.send_response(302)
            self.send_header("Location", rest)
            self.end_headers()
        elif kind == "loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
        elif kind in ("drip", "headers"):
            self.drip(kind == "headers")
        elif kind == "short":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"x" * 1000)
        elif kind == "long":
            self.send_response(200)
            self.send_header("Content-Length", str(10**12))
            self.end_headers()
        elif kind == "split":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" * 3)
        else:
            super().do_GET()

    def drip(self, within_headers):
        try:
            self.wfile.write(b"HTTP/1.0 200 OK\r\n" + b"" if within_headers else b"HTTP/1.0 200 OK\r\n\r\n")
            for _ in range(100):
                self.wfile.write(b"X: y\r\n" if within_headers else b"0")
                time.sleep(0.05)
        except OSError:
            pass  # the client has gone


@pytest.fixture
def served(tmp_path, clip):
    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_addresses_are_fetched_only_where_allowed(served, clip):
    _, address = served
    with pytest.raises(MediaError, match="allow_urls=True"):
        load_clip(f"{address}/clip.mp4")
    (given,), (wanted,) = load_clip(f"{address}/clip.mp4", allow_urls=True), load_clip(clip)
    assert np.array_equal(given.frames, wanted.frames)
    with pytest.raises(MediaError, match="bytes or more, above the limit of 1000"):
        load_clip(f"{address}/clip.mp4", allow_urls=True, limits=MediaLimits(max_bytes=1000))
    with pytest.raises(MediaError, match="could not be fetched.*404"):
        load_clip(f"{address}/none.mp4", allow_urls=True)
    with pytest.raises(MediaError, match="only http"):
        load_clip(f"file://{clip}", allow_urls=True)


@pytest.mark.parametrize("path", ["drip", "headers"])
def test_the_time_is_limited_in_all_and_not_for_each_read(served, path):
    begin = time.monotonic()
    with pytest.raises(MediaError, match="takes longer than the limit of 0.4 s.*MediaLimits.max_fetch_seconds"):
        load_clip(f"{served[1]}/{path}", allow_urls=True, limits=MediaLimits(max_fetch_seconds=0.4))
    assert time.monotonic() - begin < 3


def test_a_server_that_accepts_and_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(MediaError, match="longer than the limit"):
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/a.mp4"
        load_clip(address, allow_urls=True, limits=MediaLimits(max_fetch_seconds=0.3))


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/clip.mp4",
        "/clip.mp4",
        "http://localhost:{port}/clip.mp4",
        "http://0.0.0.0:{port}/clip.mp4",
        "http://[::1]:{port}/clip.mp4",
        "http://[::ffff:127.0.0.1]:{port}/clip.mp4",
        "http://2130706433:{port}/clip.mp4",  # 127.0.0.1 as one number
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/clip.mp4",
        "//192.168.0.1/clip.mp4",
    ],
)
def test_redirects_into_a_private_network_are_refused(served, target):
    server, address = served
    with pytest.raises(MediaError, match="a private address, which is not fetched|could not be fetched"):
        load_clip(f"{address}/go?{target.format(port=server.server_port)}", allow_urls=True)
    assert [path for path, _ in server.asked if "clip" in path and "go?" not in path] == []


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/a.mp4", "data:,x", "gopher://127.0.0.1/"])
def test_redirects_to_other_schemes_are_refused(served, target):
    with pytest.raises(MediaError, match=f"it redirects to {target[:12]}.*only http:// and https:// are followed"):
        load_clip(f"{served[1]}/go?{target}", allow_urls=True)


@pytest.mark.parametrize(
    "target", ["http://[bad/a.mp4", "http://127.0.0.1:port/", "http://a b/\x1b[31m", "http://\xe9"]
)
def test_redirects_that_lead_nowhere_are_one_line(served, target):
    with pytest.raises(MediaError) as error:
        load_clip(f"{served[1]}/go?{target}", allow_urls=True)
    assert str(error.value).isprintable()


def test_redirects_that_may_be_followed_are_and_not_for_ever(served, clip, monkeypatch):
    server, address = served
    monkeypatch.setattr(media_urls_empathav, "is_public", lambda number: True)
    (given,) = load_clip(f"{address}/go?/clip.mp4", allow_urls=True)
    assert np.array_equal(given.frames, load_clip(clip)[0].frames)
    with pytest.raises(MediaError, match="it redirects more than 5 times"):
        load_clip(f"{address}/loop", allow_urls=True)
    assert len([path for path, _ in server.asked if path == "/loop"]) == 6


def test_the_address_that_was_checked_is_the_one_that_is_asked(served, monkeypatch):
    """A name may lead elsewhere when it is asked again: it is asked once, and a private answer is refused."""
    server, _ = served
    asked, real = [], socket.getaddrinfo

    def resolve(host, port, *args, **kwargs):
        if host == "media.example":
            asked.append(host)
            host = "127.0.0.1"
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = f"http://media.example:{server.server_port}/clip.mp4"
    with pytest.raises(MediaError, match=r"it leads to media.example \(127.0.0.1\), a private address"):
        load_clip(url, allow_urls=True)
    assert server.asked == []
    monkeypatch.setattr(media_urls_empathav, "is_public", lambda number: True)
    asked.clear()
    load_clip(url, allow_urls=True)
    assert asked == ["media.example"] and server.asked[0][1] == f"media.example:{server.server_port}"


def test_answers_that_are_cut_off_too_long_or_no_answers(served):
    _, address = served
    for path, message in (
        ("short", "connection ended after 1000 of 100000 bytes"),
        ("long", r"1e\+12 bytes or more, above the limit"),
        ("split", "no media file|could not be fetched"),
    ):
        with pytest.raises(MediaError, match=message) as error:
            load_clip(f"{address}/{path}", allow_urls=True)
        assert "\n" not in str(error.value) and address in str(error.value)
    for url in (
        "http://",
        "http:///a.mp4",
        "http://u:secret@127.0.0.1/a.mp4",
        "http://127.0.0.1:99999/a",
        "http://[::/a",
    ):
        with pytest.raises(MediaError):
            load_clip(url, allow_urls=True)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(MediaError, match="could not be fetched .*refused"):
        load_clip(f"http://127.0.0.1:{port}/a.mp4", allow_urls=True)


def test_which_addresses_are_public():
    for number in ("8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        assert is_public(number)
    private = "127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 255.255.255.255"
    for number in [*private.split(), "::1", "::", "fe80::1%eth0", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"]:
        assert not is_public(number)
    assert not is_public("2002:7f00:1::")  # 6to4 of 127.0.0.1
    assert is_written_out("http://127.0.0.1:80/a") and is_written_out("https://localhost/a")
    assert is_written_out("http://[::1]/a") and not is_written_out("http://media.example/a")
