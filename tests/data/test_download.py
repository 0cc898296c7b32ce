"""Downloads, from servers on this machine that behave and misbehave."""

import hashlib
import http.server
import os
import threading
import time

import pytest

from minivit.data import download
from minivit.data.download import Archive, fetch
from minivit.errors import MinivitError
from minivit.files import replacing

BODY = os.urandom(700_000)
FILE = "archive.tar.gz"


class Handler(http.server.BaseHTTPRequestHandler):
    """The first part of the path says what happens."""

    def do_GET(self):
        self.server.asked.append(self.path)
        behaviour = self.path.split("/")[1]
        if behaviour == "missing":
            self.send_error(404)
            return
        body = {"flipped": BODY[:-1] + bytes([BODY[-1] ^ 1]), "html": b"<html>", "long": BODY * 2}.get(behaviour, BODY)
        if behaviour in ("negative", "garbage"):
            words = {
                "negative": b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc",
                "garbage": b"\x00\x07\xff\r\n\r\n",
            }
            self.wfile.write(b"HTTP/1.1 " + words[behaviour])
            return
        self.send_response(200)
        if behaviour != "unsized":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if behaviour == "slow":
            self.wfile.write(body[:1000])
            self.wfile.flush()
            time.sleep(1.5)
        elif behaviour in ("cut", "unsized"):
            self.wfile.write(body[: len(body) // 2])
        else:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that stops reading is part of the tests


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A running server; the archive of "cifar10" is BODY, and the cache is tmp_path/cache."""
    running = Server(("127.0.0.1", 0), Handler)
    running.asked = []
    thread = threading.Thread(target=running.serve_forever, args=(0.02,))
    thread.start()
    running.base = f"http://127.0.0.1:{running.server_port}"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("MINIVIT_CACHE", str(tmp_path / "cache"))
    md5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    built_in = (f"{running.base}/missing/", f"{running.base}/good/")
    monkeypatch.setitem(download.ARCHIVES, "cifar10", Archive(FILE, len(BODY), md5, built_in))
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def use(monkeypatch, server, *behaviours):
    monkeypatch.setenv("MINIVIT_MIRRORS", " ".join(f"{server.base}/{b}" for b in behaviours))


def test_the_built_in_mirrors_are_tried_in_turn(server, tmp_path, capsys):
    path = fetch("cifar10")
    assert path == tmp_path / "cache" / FILE
    assert path.read_bytes() == BODY
    assert server.asked == [f"/missing/{FILE}", f"/good/{FILE}"]
    assert os.listdir(path.parent) == [FILE]
    assert capsys.readouterr().err == f"minivit: downloading cifar10 (1 MB) to {path}\n"


def test_what_is_in_the_cache_is_not_downloaded_again(server, capsys):
    fetch("cifar10")
    server.asked.clear()
    capsys.readouterr()
    assert fetch("cifar10").read_bytes() == BODY
    assert server.asked == []
    assert capsys.readouterr().err == ""


def test_a_file_of_another_size_in_the_cache_is_replaced(server, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / FILE).write_bytes(BODY[:100])
    assert fetch("cifar10").read_bytes() == BODY


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("missing", "404"),
        ("html", "6 bytes arrived instead of 700000"),
        ("cut", "bytes"),
        ("unsized", "350000 bytes arrived instead of 700000"),
        ("flipped", "MD5"),
        ("long", "more than the expected 700000 bytes arrived"),
        ("slow", "timed out"),
        ("negative", "read length must be non-negative"),
        ("garbage", ""),
    ],
)
def test_a_bad_download_leaves_nothing_and_the_next_mirror_is_tried(server, tmp_path, monkeypatch, behaviour, said):
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    use(monkeypatch, server, behaviour)
    with pytest.raises(MinivitError) as caught:
        fetch("cifar10")
    message = str(caught.value)
    assert said in message
    assert message.isprintable()
    for way_on in (
        "try again with a connection",
        f"{server.base}/{behaviour}/{FILE}",
        "--data-dir",
        "--dataset shapes",
    ):
        assert way_on in message
    assert os.listdir(tmp_path / "cache") == []
    use(monkeypatch, server, behaviour, "good")
    assert fetch("cifar10").read_bytes() == BODY
    assert os.listdir(tmp_path / "cache") == [FILE]


@pytest.mark.parametrize("mirror", ["http://127.0.0.1:9", "nonsense", "http://[", "ftp2://x"])
def test_offline_and_nonsense_mirrors_end_in_one_sentence(server, monkeypatch, mirror):
    monkeypatch.setenv("MINIVIT_MIRRORS", mirror)
    with pytest.raises(MinivitError, match="could not be downloaded") as caught:
        fetch("cifar10")
    assert "\n" not in str(caught.value)


def test_an_interrupted_download_leaves_nothing(server, tmp_path, monkeypatch):
    def interrupted(url):
        yield BODY[:1000]
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_blocks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("cifar10")
    assert os.listdir(tmp_path / "cache") == []


def test_the_target_appears_only_when_it_is_whole(server, tmp_path, monkeypatch):
    """What a kill would leave behind: at every block, no file under the archive's own name."""
    blocks = download._blocks

    def watched(url):
        for block in blocks(url):
            assert not (tmp_path / "cache" / FILE).exists()
            yield block

    monkeypatch.setattr(download, "_blocks", watched)
    assert fetch("cifar10").read_bytes() == BODY


def test_old_remains_are_removed_and_fresh_ones_kept(server, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    left = []
    for age in (7200, 60):
        with replacing(cache / FILE):
            (name,) = [name for name in os.listdir(cache) if name not in left]
            (tmp_path / name).write_bytes(b"x")  # as if the process ended here
        (cache / FILE).unlink()
        (tmp_path / name).rename(cache / name)
        os.utime(cache / name, (time.time() - age,) * 2)
        left.append(name)
    fetch("cifar10")
    assert sorted(os.listdir(cache)) == sorted([FILE, left[1]])


def test_a_cache_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MinivitError, match=r"the cache folder .*file.* cannot be written .*MINIVIT_CACHE"):
        fetch("cifar10", tmp_path / "file")


def test_where_the_cache_is(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert fetch("cifar10").parent == tmp_path / "cache"
    monkeypatch.delenv("MINIVIT_CACHE")
    assert fetch("cifar10").parent == tmp_path / "xdg" / "minivit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert fetch("cifar10").parent == tmp_path / "home" / ".cache" / "minivit"
    assert fetch("cifar10", tmp_path / "given").parent == tmp_path / "given"


def test_published_facts():
    assert download.ARCHIVES["cifar10"][:3] == (
        "cifar-10-python.tar.gz",
        170_498_071,
        "c58f30108f718f92721af3b95e74349a",
    )
    assert download.ARCHIVES["cifar100"][:3] == (
        "cifar-100-python.tar.gz",
        169_001_437,
        "eb9058c3a382ffc7106e4002c42a8d85",
    )
