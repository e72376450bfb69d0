"""No credential is left in a text that people see."""

import base64
import json
import time
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functa_store.support.redaction import redacted

SECRET = "Sec/ret+that&nobody<sees"

FORMS = {
    "plain": SECRET,
    "in a path": urllib.parse.quote(SECRET),
    "in a query": urllib.parse.quote(SECRET, safe=""),
    "in a form": urllib.parse.quote_plus(SECRET),
    "in JSON": json.dumps(SECRET),
    "in a page": "Sec/ret+that&amp;nobody&lt;sees",
    "in base64": base64.b64encode(SECRET.encode()).decode(),
    "in hex": SECRET.encode().hex(),
}
VARIABLES = [
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "HF_TOKEN",
    "MY_PASSWORD",
]


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("form", FORMS)
def test_a_credential_of_the_environment_is_hidden_in_every_form(variable, form, monkeypatch):
    monkeypatch.setenv(variable, SECRET)
    assert redacted(f"before <i>{FORMS[form]}</i> after").replace('"', "") == "before <i>***</i> after"


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "SOME_URL"])
def test_userinfo_of_addresses_in_the_environment_is_hidden(variable, monkeypatch):
    monkeypatch.setenv(variable, "http://somebody:hunter2%2F@example.org:80/x")
    for text in ("password hunter2%2F", "password hunter2/", "somebody:hunter2%2F"):
        assert "hunter2" not in redacted(text)


def test_files_of_credentials_are_known(monkeypatch, tmp_path):
    key = "-----BEGIN PRIVATE KEY-----\nabcdefghijklmnop\nqrstuvwxyz\n-----END PRIVATE KEY-----\n"
    (tmp_path / "key.json").write_text(json.dumps({"private_key": key, "refresh_token": "1//token", "type": "user"}))
    (tmp_path / "token").write_text("web-identity\n")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    text = redacted("a user said qrstuvwxyz, abcdefghijklmnop, 1//token and web-identity")
    assert text == "a user said ***, ***, *** and ***"
    assert redacted(f"no {tmp_path}/key.json") == f"no {tmp_path}/key.json"
    for path in (tmp_path, "/dev/zero", "a\nb", "~nobody/x"):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        assert redacted("x") == "x"


@pytest.mark.parametrize(
    "text",
    [
        "s3://KEY:hunter2@bucket/x.functa",
        "s3://KEY:hun/hunter2@bucket/x.functa",
        "s3:/KEY:hunter2@bucket/x.functa",
        "s3:KEY:hunter2@bucket/x.functa",
        "S3:/hunter2@bucket/x.functa",
        "https:/user:hunter2@host/x.functa",
        "gs:hunter2@bucket",
        "ftp://user:hunter2@host",
        "(https://hunter2@host)",
        "http://host/a,http://user:hunter2@host/b",
        "http://user:a@hunter2@host/b",
        "https://host/x?X-Amz-Signature=hunter2&part=1",
        "https://host/x?X-Amz-Security-Token=hunter2",
        "https://host/x?X-Goog-Signature=hunter2",
        "https://host/x?sig=hunter2",
        "https://host/x?token=hunter2#a",
        "Authorization: Bearer hunter2",
        '"authorization": "Bearer hunter2"',
        "'authorization': 'AWS4-HMAC-SHA256 Credential=A/us, SignedHeaders=host, Signature=hunter2'",
        "Proxy-Authorization: Basic aHVudGVyMg==hunter2",
        "Basic aHVudGVyhunter2",
        "x-amz-security-token:hunter2",
        "Set-Cookie: session=1; id=hunter2",
        "<Token>hunter2</Token>",
        "<StringToSign>a\nb\nhunter2</StringToSign>",
        "<AWSAccessKeyId>hunter2",
        "password=hunter2",
        "ya29.a0hunter2",
        "eyJhbGciOiJ.hunter2.abc",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2",
        "client_secret=hunter2",
        '{"refresh_token": "hunter2"}',
        "{\\\"access_token\\\":\\\"hunter2\\\"}",
    ],
)  # fmt: skip
def test_what_looks_like_a_credential_is_hidden(text):
    assert "hunter2" not in redacted(text)
    assert "***" in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/me@work/x.functa",
        "/home/me:you@work/x.functa",
        "C:/Users/me@work",
        "http://127.0.0.1:9000/bucket/x.functa: cannot be read: the server answered 404",
        "Basic research, a basic question; the bearer of news",
        "modulations have shape (3, 4), but the base network in this store takes (3, 5); convert again",
        "the key 'modulations/c/0' of the store; tokens and secrets are none",
    ],
)
def test_ordinary_texts_stay_as_they_are(text):
    assert redacted(text) == text


def test_a_text_of_any_length_takes_no_time():
    parts = ["a:/", "a://b@", "s3:", "http://a:@", "Basic a", "token=", "x-amz-", "<token>", "-----BEGIN ", "eyJaaaaa"]
    began = time.monotonic()
    for part in [*parts, "@", "a", " ", "\0"]:
        redacted(part * 200_000)
    assert time.monotonic() - began < 5


@given(st.text())
def test_any_text_can_be_redacted_and_twice_is_once(text):
    once = redacted(text)
    assert redacted(once) == once
