"""A callee without Jabba's package: python callee.py PORT SERVICE whsec_…"""

import base64, collections, hashlib, hmac, http.server, json, sys, threading, time

PORT, SERVICE, KEY = int(sys.argv[1]), sys.argv[2], base64.b64decode(sys.argv[3].removeprefix("whsec_"))
ANSWERS, LOCK = {}, threading.Lock()  # by webhook-id: None while a call is at work, its answer once that is final


class Failed(Exception):
    """Raised with (result, is_final)."""


def is_signed(headers, body):
    try:
        name, at = headers["webhook-id"], int(headers["webhook-timestamp"])
        digest = hmac.digest(KEY, f"{name}.{at}.".encode() + body, hashlib.sha256)
        good = b"v1," + base64.b64encode(digest)
        found = [hmac.compare_digest(good, one.encode()) for one in headers["webhook-signature"].split(" ")]
        return any(found) and abs(time.time() - at) < 300
    except (AttributeError, TypeError, ValueError, OverflowError):
        return False


def answer(headers, body):
    """Return (status, document, headers)."""
    if not is_signed(headers, body):
        return 401, {"error": {"error": "not signed with this service's secret, or not now"}}, {}
    try:
        call = json.loads(body)
        service, kind, function = call["service"], call["type"], f"{call['module']}.{call['function']}"
        args = list(call["args"])
    except (TypeError, ValueError, KeyError):
        return 400, {"error": {"error": "the body is not a call"}}, {}
    if service != SERVICE or kind != "jabba.call":
        return (400 if service == SERVICE else 403), {"error": {"error": "only calls of " + SERVICE}}, {}
    if function not in FUNCTIONS:
        return 404, {"error": {"error": "unknown callback"}}, {}
    name = headers["webhook-id"]
    with LOCK:
        if name in ANSWERS:
            return ANSWERS[name] or (409, {"error": {"error": "at work"}}, {"retry-after": "1"})
        ANSWERS[name] = None
    said = None
    try:
        said = 200, {"ok": FUNCTIONS[function](name, *args)}, {}
    except Failed as error:
        said = 200, {"error": error.args[0]}, {"jabba-retry": "no"} if error.args[1] else {}
    except Exception as error:
        said = 200, {"raised": {"error": f"{type(error).__name__}: {error}"}}, {}
    finally:
        with LOCK:  # only what must not happen twice is kept; in production, in a database
            if said and ("ok" in said[1] or said[2]):
                ANSWERS[name] = said
            else:
                del ANSWERS[name]
    return said


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > 2 << 20:
            self.close_connection = True
            return self.send(413, {"error": {"error": "more than 2 MiB, or of unknown length"}}, {})
        self.send(*answer(self.headers, self.rfile.read(int(length))))

    def send(self, status, document, headers):
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "jabba-answer": "1", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


# The functions of this service: they get the webhook-id and the arguments. Those of jabba.check are for tests.
RUNS = collections.Counter()


def echo(name, value):
    RUNS[name] += 1
    return {"value": value, "runs": RUNS[name]}


def fail(name, retry):
    RUNS[name] += 1
    raise Failed({"runs": RUNS[name]}, not retry)


def busy(name, seconds):
    time.sleep(seconds)
    return {"cancelled": False, "runs": echo(name, None)["runs"]}


FUNCTIONS = {
    "invoices.charge": lambda name, order, amount: {"charged": amount},
    "jabba.check.echo": echo,
    "jabba.check.fail": fail,
    "jabba.check.busy": busy,
}

http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
