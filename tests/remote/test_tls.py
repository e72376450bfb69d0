"""Servers that speak TLS are asked through the gate, which checks their certificates, and never without TLS."""

import datetime
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from functa_store.errors import StorageError
from functa_store.store.reading.verify import verify
from functa_store.store.storage import proxy as gate
from functa_store.store.storage import remote
from functa_store.store.storage.objects import StorageOptions, open_objects
from tests.remote.hostile import Server, answer
from tests.remote.servers import web_server


def make_certificate(folder: Path, host: str) -> Path:
    """A certificate that signs itself, and its key, for a host, in one file."""
    file = folder / f"{host}.pem"
    try:
        file.write_bytes(_from_library(host))
    except ImportError:
        if shutil.which("openssl") is None:
            pytest.skip("neither the package cryptography nor the command openssl is there to make a certificate")
        file.write_bytes(_from_command(folder, host))
    return file


def _from_library(host: str) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, *form) + certificate.public_bytes(serialization.Encoding.PEM)


def _from_command(folder: Path, host: str) -> bytes:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    names = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *kind, *names, *files], check=True, capture_output=True)
    return key.read_bytes() + certificate.read_bytes()


def context_of(certificate: Path) -> ssl.SSLContext:
    """What a server with a certificate speaks TLS by."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificates"), "localhost")


@pytest.fixture(autouse=True)
def _trusting(certificate, monkeypatch):
    """As the how-to on buckets says; what is trusted is read once per process."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.01)
    gate._context.cache_clear()
    yield
    gate._context.cache_clear()


KINDS = {
    "web": lambda port: open_objects(f"https://localhost:{port}/x.functa"),
    "s3": lambda port: open_objects("s3://bucket/x.functa", StorageOptions(endpoint=f"https://localhost:{port}")),
    "gs": lambda port: open_objects(
        "gs://bucket/x.functa", StorageOptions(endpoint=f"https://localhost:{port}", anonymous=True)
    ),
}


@pytest.fixture(params=KINDS)
def connect(request):
    return KINDS[request.param]


def test_a_store_is_read_over_tls(local, certificate):
    with web_server(local.parent, context_of(certificate)) as port:
        assert verify(f"https://localhost:{port}/pets.functa") == verify(local)


def test_every_kind_of_server_is_asked_over_tls(connect, certificate):
    with Server(lambda request: answer(b"12345"), context_of(certificate)) as server:
        assert connect(server.port).read("a", 1000) == b"12345"
        assert len(server.requests) == 1


def test_a_redirect_from_tls_to_a_plain_server_is_refused(connect, certificate):
    with Server(lambda request: answer(b"12345")) as plain:
        for where in (f"http://127.0.0.1:{plain.port}", f"http://localhost:{plain.port}", "http://93.184.215.14"):
            script = lambda request, where=where: answer(b"", 302, Location=f"{where}/stolen")  # noqa: E731
            with (
                Server(script, context_of(certificate)) as server,
                pytest.raises(StorageError, match=r"sends the request on to .*, which is not followed"),
            ):
                connect(server.port).read("a", 1000)
        assert plain.requests == []


def test_a_redirect_on_the_same_server_is_followed_over_tls(connect, certificate):
    def script(request):
        steps = {"/b": f"https://localhost:{server.port}/c"}
        return answer(b"12345") if request.path == "/c" else answer(b"", 302, Location=steps.get(request.path, "/b"))

    with Server(script, context_of(certificate)) as server:
        assert connect(server.port).read("a", 1000) == b"12345"


@pytest.mark.parametrize("host", ["elsewhere.invalid", "localhost"])
def test_a_certificate_of_another_host_or_from_nobody_who_is_trusted_is_refused_at_once(
    connect, host, tmp_path, monkeypatch
):
    wrong = make_certificate(tmp_path, host)
    if host != "localhost":  # trusted, but another's
        monkeypatch.setenv("SSL_CERT_FILE", str(wrong))
    with Server(lambda request: answer(b"12345"), context_of(wrong)) as server:
        with pytest.raises(StorageError, match="the server has no valid certificate"):
            connect(server.port).read("a", 1000)
        assert server.requests == []
        assert server.connections == 1


def test_a_server_that_speaks_no_tls_is_not_asked_without(connect, monkeypatch):
    """It waits for the end of a head, and the gate for its part of TLS."""
    monkeypatch.setattr(remote, "REPEATS", 0)
    monkeypatch.setattr(gate, "CONNECT_SECONDS", 0.5)
    with Server(lambda request: answer(b"12345")) as server:
        with pytest.raises(StorageError, match="the server cannot be reached"):
            connect(server.port).read("a", 1000)
        assert server.requests == []
