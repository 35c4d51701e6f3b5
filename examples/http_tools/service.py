"""The shop's service, played by a server on loopback; it wants a key."""

import json
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Shop(BaseHTTPRequestHandler):
    """Answer one call."""

    def do_GET(self):
        """Tell how many there are."""
        self.answer({"item": urlsplit(self.path).path.rpartition("/")[2], "pieces": 7, "supplier": "Fish & Sons"})

    def do_POST(self):
        """Make a reservation."""
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer({"reservation": {"number": 42, **wanted}})

    def answer(self, value):
        """Send *value*, to who has the key."""
        right = self.headers["Authorization"] == f"Bearer {os.environ['SHOP_KEY']}"
        print(f"  (the service got {self.command} {self.path}, the key is {'right' if right else 'wrong'})", flush=True)
        body = json.dumps(value).encode()
        self.send_response(200 if right else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing: ``answer`` does."""


@contextmanager
def running():
    """Serve in a thread, and give the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
