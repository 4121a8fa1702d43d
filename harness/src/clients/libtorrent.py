"""A libtorrent session that is told what to do by HTTP: POST a JSON object with `do`, get a JSON answer.

usage: libtorrent.py PORT FOLDER
"""

import base64
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import libtorrent

SETTINGS = {
    # Each torrent's trackers all at once, over both families: what many users of private sites choose.
    "announce_to_all_tiers": True,
    "announce_to_all_trackers": True,
    "allow_multiple_connections_per_ip": True,
    # The tracker decides how often; ours asks for short intervals in tests.
    "min_announce_interval": 1,
    "listen_interfaces": "0.0.0.0:6881,[::]:6881",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_natpmp": False,
    "enable_upnp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    # A certificate of the test's own.
    "validate_https_trackers": False,
}

PORT, FOLDER = int(sys.argv[1]), sys.argv[2]
session = libtorrent.session(SETTINGS)
torrents = {}


def add(metainfo, urls, limit):
    """Starts a torrent, which is checked first where its file is there already."""
    params = libtorrent.load_torrent_buffer(base64.b64decode(metainfo))
    params.save_path = os.path.join(FOLDER, "files")
    params.trackers = urls
    params.tracker_tiers = list(range(len(urls)))
    params.download_limit = limit
    params.flags &= ~(libtorrent.torrent_flags.auto_managed | libtorrent.torrent_flags.paused)
    handle = session.add_torrent(params)
    torrents[str(handle.info_hash())] = handle


def connect(torrent, peer):
    torrents[torrent].connect_peer((peer, 6881))


def limit(torrent, bytes_per_s):
    torrents[torrent].set_download_limit(bytes_per_s)


def pause(torrent):
    torrents[torrent].pause()


def resume(torrent):
    torrents[torrent].resume()


def announce(torrent):
    """As a user's click on "update tracker" does."""
    torrents[torrent].force_reannounce(0, -1, libtorrent.reannounce_flags_t.ignore_min_interval)


def status():
    """The counters are those that trackers are told; a torrent that is resumed begins them anew."""
    return {torrent: figures(handle, handle.status()) for torrent, handle in torrents.items()}


def is_announcing(handle):
    paths = (path for tracker in handle.trackers() for path in tracker["endpoints"])
    return any(announce["updating"] for path in paths for announce in path["info_hashes"])


def figures(handle, now):
    return {
        "is_announcing": is_announcing(handle),
        "up": now.total_payload_upload,
        "down": now.total_payload_download - now.total_failed_bytes - now.total_redundant_bytes,
        "has_all": now.is_seeding,
    }


COMMANDS = {command.__name__: command for command in (add, connect, limit, pause, resume, announce, status)}


class Commands(BaseHTTPRequestHandler):
    def do_POST(self):
        order = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = json.dumps(COMMANDS[order.pop("do")](**order)).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


HTTPServer(("", PORT), Commands).serve_forever()
