"""Where requests go, and what of their heads is always the same."""

import pytest

from models.endpoint import Endpoint
from models.route import Place, lines_of, route_to


def test_headers_of_other_scripts_are_sent_as_they_are() -> None:
    assert lines_of({"authorization": "Bearer schlüssel"}) == "authorization: Bearer schlüssel\r\n".encode()


@pytest.mark.parametrize(
    ("url", "place", "host", "target"),
    [
        ("http://a", Place("a", 80, None), "a", "/v1/x"),
        ("https://a", Place("a", 443, "a"), "a", "/v1/x"),
        ("http://[::1]:8000", Place("::1", 8000, None), "[::1]:8000", "/v1/x"),
        ("https://[::1]", Place("::1", 443, "::1"), "[::1]", "/v1/x"),
        ("http://a:8000/deep/er", Place("a", 8000, None), "a:8000", "/deep/er/v1/x"),
        ("http://A.Example:8000", Place("a.example", 8000, None), "A.Example:8000", "/v1/x"),
        ("http://bücher.example:1", Place("bücher.example", 1, None), "xn--bcher-kva.example:1", "/v1/x"),
        ("http://a/ä%20 b\r\nx: 1", Place("a", 80, None), "a", "/%C3%A4%20%20bx:%201/v1/x"),
    ],
)
def test_urls_lead_to_places(url: str, place: Place, host: str, target: str) -> None:
    route = route_to(Endpoint(url, "m"), "GET", "/v1/x")

    assert route.place == place
    assert route.head.decode().split("\r\n")[:2] == [f"GET {target} HTTP/1.1", f"host: {host}"]


def test_a_password_in_a_url_is_sent_and_shown_to_nobody() -> None:
    route = route_to(Endpoint("http://me:pass%20word@a:1", "m"), "GET", "/v1/x")

    assert b"\r\nauthorization: Basic bWU6cGFzcyB3b3Jk\r\n" in route.head
    assert b"\r\nhost: a:1\r\n" in route.head
    assert route.url == "http://a:1/v1/x"


def test_our_key_goes_before_a_password_in_a_url() -> None:
    route = route_to(Endpoint("http://me:word@a:1", "m", "key"), "GET", "/v1/x")

    assert route.head.lower().count(b"authorization") == 1
    assert b"\r\nauthorization: Bearer key\r\n" in route.head
