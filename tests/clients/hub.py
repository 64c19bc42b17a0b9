"""The running hub as the product has it: its API, the store's port by its users, and people who sign in."""

import html
import json
import os
import re
import time
import uuid
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

from kurrentdbclient import KurrentDBClient

DEV = json.loads((Path(os.environ["HUB_DIRECTORY"]) / ".chancery/dev.json").read_text())


def store(user, password=None):
    """A client of the store's port. This one sends a password by TLS only."""
    port = DEV["store"]["address"].rsplit(":", 1)[1]
    password = password or DEV["store"]["users"][user]
    return KurrentDBClient(f"esdb://{user}:{password}@localhost:{port}?tlsCaFile={DEV['store']['ca_file']}")


def link(account, upn):
    """Signs a person in, and so links the account to them."""
    person = next(person for person in control("/control/people") if person["upn"] == upn)
    expected = {"tenant": person["tid"], "object_id": person["oid"]}
    page = api("POST", "/v1/sign-ins", {"account": account, "expected": expected})["url"]
    opened = fetch(page)
    cookie = "; ".join(f"{morsel.key}={morsel.value}" for morsel in SimpleCookie(opened.headers["Set-Cookie"]).values())
    csrf = html.unescape(re.search(r'name="csrf" value="([^"]*)"', opened.read().decode())[1])
    pressed = fetch(f"{page}/microsoft", {"csrf": csrf}, Cookie=cookie)
    agreed = fetch(pressed.headers["Location"], {"person": upn, "consent": "accept"})
    connected = fetch(agreed.headers["Location"], Cookie=cookie).read().decode()
    assert "You are connected" in connected, connected


def texts():
    """What stands in Teams, as HTML."""
    return [message["content"] for message in control("/control/messages")]


def api(method, path, body=None):
    return call(method, DEV["url"] + path, DEV["api_key"], body)


def control(path):
    return call("GET", DEV["simulator_url"] + path, DEV["control_token"])


def until(look, patience_s=30):
    """The first thing worth something that is found by looking."""
    end = time.monotonic() + patience_s
    while not (found := look()):
        assert time.monotonic() < end, "it was waited for in vain"
        time.sleep(0.05)
    return found


def call(method, url, token, body=None):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    data = None if body is None else json.dumps(body).encode()
    return json.load(OPENER.open(Request(url, data, headers, method=method), timeout=30))


def fetch(url, form=None, **headers):
    """As a browser does, but that it stays where it is sent away."""
    data = None if form is None else urlencode(form).encode()
    try:
        return OPENER.open(Request(url, data, headers), timeout=30)
    except HTTPError as answer:
        if answer.code // 100 != 3:
            raise
        return answer


class Stay(HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


OPENER = build_opener(Stay)
