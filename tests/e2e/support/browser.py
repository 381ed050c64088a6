"""A headless Chromium, driven over its debugging protocol."""

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import websocket

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1400,900",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
]

AWAITED = {"Document", "Script", "Stylesheet", "XHR", "Fetch"}


def find():
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page. Basic credentials are given when the page is challenged, as in the prompt."""

    def __init__(self, credential=None, flags=()):
        self.credential = credential
        self.challenges = 0
        self.console_errors = []
        self.responses = []
        self.failures = []
        self.refused = []
        self._bodies = {}
        self._under_way = {}
        self._last_traffic = time.monotonic()
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [find(), *FLAGS, *flags, f"--user-data-dir={self._profile.name}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._numbers = itertools.count(1)
        self._connect()
        for domain in ["Page", "Network", "Runtime", "Log"]:
            self.call(f"{domain}.enable")
        self.call("Fetch.enable", handleAuthRequests=True)

    def _connect(self):
        port_file = Path(self._profile.name) / "DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not (port_file.exists() and port_file.read_text().strip()):
            assert time.monotonic() < deadline and self._process.poll() is None, "no Chromium"
            time.sleep(0.1)
        import requests

        port = port_file.read_text().split()[0]
        session = requests.Session()
        session.trust_env = False
        pages = session.get(f"http://127.0.0.1:{port}/json/list").json()
        address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        self._socket = websocket.create_connection(address, timeout=60, http_no_proxy=["*"])

    def close(self):
        self._socket.close()
        self._process.terminate()
        self._process.wait(timeout=20)
        self._profile.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _send(self, method, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        return number

    def call(self, method, **parameters):
        number = self._send(method, **parameters)
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._handle(message)

    def _handle(self, message):
        parameters = message.get("params", {})
        match message.get("method"):
            case "Fetch.requestPaused":
                self._send("Fetch.continueRequest", requestId=parameters["requestId"])
            case "Fetch.authRequired":
                self.challenges += 1
                self._send(
                    "Fetch.continueWithAuth",
                    requestId=parameters["requestId"],
                    authChallengeResponse=self._answer(),
                )
            case "Network.requestWillBeSent":
                self._last_traffic = time.monotonic()
                # The end of a worker's script is told to the worker.
                url = parameters["request"]["url"]
                self._bodies[parameters["requestId"]] = parameters["request"].get("postData", "")
                if parameters.get("type") in AWAITED and not url.endswith(".worker.js"):
                    self._under_way[parameters["requestId"]] = url
            case "Network.responseReceived":
                response = parameters["response"]
                self.responses.append((response["status"], response["url"]))
                if response["status"] >= 400:
                    body = self._bodies.get(parameters["requestId"], "")
                    self.refused.append((response["status"], response["url"], body))
            case "Network.loadingFinished" | "Network.loadingFailed":
                self._last_traffic = time.monotonic()
                url = self._under_way.pop(parameters["requestId"], None)
                if url and "errorText" in parameters and not parameters.get("canceled"):
                    self.failures.append(f"{parameters['errorText']} {url}")
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                entry = parameters["entry"]
                self.console_errors.append(f"{entry['text']} {entry.get('url', '')}")
            case "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                thrown = details.get("exception", {}).get("description", "")
                self.console_errors.append(f"{details['text']} {thrown}".split("\n")[0])
            case "Runtime.consoleAPICalled" if parameters["type"] == "error":
                said = [value.get("value") or value.get("description", "") for value in parameters["args"]]
                self.console_errors.append(" ".join(map(str, said)).split("\n")[0])

    def wait_until_quiet(self, seconds=30, quiet=1.0):
        """Returns when nothing was asked or answered for a while."""
        deadline = time.monotonic() + seconds
        while self._under_way or time.monotonic() < self._last_traffic + quiet:
            assert time.monotonic() < deadline, f"no answer to {self._under_way}"
            # Whatever is asked of the browser, what it has to tell is heard first.
            self.call("Runtime.evaluate", expression="0")
            time.sleep(0.1)

    def _answer(self):
        if self.credential is None or self.challenges > 20:
            return {"response": "CancelAuth"}
        user, password = self.credential
        return {"response": "ProvideCredentials", "username": user, "password": password}

    def open(self, url):
        self.call("Page.navigate", url=url)

    def text(self):
        expression = "document.body ? document.body.innerText : ''"
        return self.call("Runtime.evaluate", expression=expression)["result"].get("value", "")

    def wait_for_text(self, text, seconds=60):
        deadline = time.monotonic() + seconds
        while text not in (seen := self.text()):
            assert time.monotonic() < deadline, f"{text!r} did not appear; the page says: {seen}"
            time.sleep(0.3)

    def screenshot(self, path):
        image = self.call("Page.captureScreenshot", format="png")["data"]
        Path(path).write_bytes(base64.b64decode(image))
