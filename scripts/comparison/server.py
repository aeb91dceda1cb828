"""Who serves in `scripts/versus`, and what: files of pseudo-random bytes on loopback, or one that is elsewhere."""

import contextlib
import hashlib
import http.client
import os
import random
import re
import shutil
import socket
import subprocess
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from comparison.bench import SLACK_BYTES, end_group
from comparison.cases import SMALL_BYTES, Row
from comparison.machine import MIB, Failure, congestion_control, digest_of, say, which


class Served(NamedTuple):
    """A file that is there to be fetched; `name` is what it is called here too."""

    url: str
    name: str
    size: int
    digest: str
    ca: str = ""  # the file with the authority of the certificate, if it is not one that everybody knows


NGINX = """
daemon off; pid nginx.pid; error_log stderr error; worker_processes auto; {user}
events {{ worker_connections 512; }}
http {{
    access_log {log}; sendfile on; tcp_nopush on; default_type application/octet-stream;
    autoindex on; keepalive_requests 10000000;
    client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
    server {{
        root www;
        listen 127.0.0.1:{port};
        {secure}
    }}
}}
"""
NO_TLS = "openssl is missing"
NGINX_SECURE = """
        listen 127.0.0.1:{port} ssl {http2};
        ssl_certificate cert.pem; ssl_certificate_key key.pem; ssl_protocols TLSv1.2 TLSv1.3;
"""


def version(command, env=None):
    """The version that a program tells of itself."""
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+[^\s,]*", told.stdout + told.stderr)
    return found.group() if found else "of unknown version"


@contextlib.contextmanager
def own_files(place, size, who, secure, program):
    """Serves files of our own; gives what is told of the server, and a file, or why there is none, for each case.

    The file of all other cases has no name.
    """
    make_room(place, 2 * size)
    secure = prepared(place, who, secure)
    say(f"making {size // MIB} MiB of pseudo-random bytes")
    sizes = {"bytes": size, "small": SMALL_BYTES}
    digests = {name: write_random(place / "www" / name, size) for name, size in sizes.items()}
    with serving(place, who, secure, program, "small") as (told, bases):

        def served(base, name, ca=""):
            return Served(base + name, name, sizes[name], digests[name], str(ca))

        files = {"": served(bases[0], "bytes"), "small": served(bases[0], "small")}
        for case, name in {"tls": "bytes", "small-tls": "small"}.items():
            files[case] = served(bases[1], name, place / "ca.pem") if secure else NO_TLS
        yield told, files


def prepared(place, who, secure):
    """Refuses to begin without the server, and makes a certificate if one is wanted; gives whether it is there."""
    if who == "nginx" and not which("nginx"):
        raise Failure("nginx is missing")
    secure = secure and bool(which("openssl"))
    if secure:
        certify(place)
    return secure


@contextlib.contextmanager
def serving(place, who, secure, program, known, http2=False, log=None):
    """Serves `place`/www, which has a file `known`; gives what is told of the server, and its addresses.

    Over HTTPS nginx speaks `http2` too, if that is asked for, and notes requests in `log`, if there is one.
    """
    by_nginx = who != "ringpull" and which("nginx")
    name = f"nginx {version([by_nginx, '-v'])}" if by_nginx else "ringpull serve"
    with nginx(place, secure, http2, log) if by_nginx else ringpull(place, secure, program) as (bases, control):
        if not answers(bases[0] + known):
            raise Failure(f"{name} does not serve: {(place / 'server.log').read_text().strip()}")
        yield {"name": name, "congestion_control": control}, bases


@contextlib.contextmanager
def given_file(url, ca, bench):
    """A file elsewhere, which is fetched once to know its bytes; gives the same as `own_files`."""
    at = urlsplit(url)
    name = unquote(at.path.rpartition("/")[2])
    if not name or name.startswith("."):
        raise Failure(f"{url} ends in no name of a file")
    served = Served(url, name, 0, "", str(ca.resolve()) if ca else "")
    say("fetching the file once, to know its bytes")
    first = Row("", "", "ringpull {trust} -q -o {file} {url}", "--cacert {ca}")
    _, _, failed = bench.measure(bench.spell(first, served), bench.out)
    if failed:
        raise Failure(f"{url} cannot be fetched: {failed}")
    file = bench.out / name
    served = served._replace(size=file.stat().st_size, digest=digest_of(file))
    file.unlink()
    make_room(bench.scratch, served.size)
    control = congestion_control() if at.hostname in ["localhost", "127.0.0.1", "::1"] else "unknown"
    none = "it needs a file of our own, and --url gives another"
    yield {"name": at.hostname, "congestion_control": control}, {"": served, **dict.fromkeys(["tls", "small", "small-tls"], none)}


def make_room(place, size):
    """Refuses to begin where the disk is too small."""
    free = shutil.disk_usage(place).free
    if free < size + SLACK_BYTES:
        raise Failure(f"{size / 1e9:.1f} GB are needed, and {free / 1e9:.1f} GB free: see --size and --dir")


def write_random(path, size):
    """Writes pseudo-random bytes, the same every time; gives their SHA-256."""
    source, digest = random.Random("versus"), hashlib.sha256()
    with open(path, "wb") as file:
        for at in range(0, size, MIB):
            block = source.randbytes(min(MIB, size - at))
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def certify(place):
    """Makes an authority and a certificate for loopback: `ca.pem`, `cert.pem` and `key.pem`."""
    (place / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    key = "-newkey rsa:2048 -nodes"
    for words in [
        f"req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=versus",
        f"req {key} -keyout key.pem -out request.pem -subj /CN=localhost",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile names",
    ]:
        subprocess.run(["openssl", *words.split()], cwd=place, check=True, capture_output=True)


@contextlib.contextmanager
def running(command, place, **more):
    """Runs a server until the end of the block, and ends it with all its processes."""
    with open(place / "server.log", "ab") as log:
        null = subprocess.DEVNULL
        server = subprocess.Popen(command, cwd=place, stdin=null, stderr=log, start_new_session=True, **more)
    try:
        yield server
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(5)
        end_group(server.pid)


@contextlib.contextmanager
def nginx(place, secure, http2, log):
    """nginx over `place`/www, on sockets of ours; gives its addresses and its congestion control."""
    sockets = [cubic_listener() for _ in range(2 if secure else 1)]
    ports = [one.getsockname()[1] for one in sockets]
    control = sockets[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()
    # Its children would otherwise be a user who may not look into the directory.
    user = "user root;" if os.geteuid() == 0 else ""
    listen = NGINX_SECURE.format(port=ports[1], http2="http2" if http2 else "") if secure else ""
    (place / "nginx.conf").write_text(NGINX.format(user=user, port=ports[0], secure=listen, log=log or "off"))
    # nginx takes over the sockets whose numbers it finds in NGINX, as when it replaces itself.
    numbers = [one.fileno() for one in sockets]
    env = {**os.environ, "NGINX": "".join(f"{number};" for number in numbers)}
    command = [which("nginx"), "-p", str(place), "-c", "nginx.conf", "-e", "stderr"]
    with running(command, place, env=env, pass_fds=numbers, stdout=subprocess.DEVNULL):
        for one in sockets:
            one.close()
        yield [f"{scheme}://127.0.0.1:{port}/" for scheme, port in zip(["http", "https"], ports)], control


def cubic_listener():
    """A listening socket on loopback, with cubic where the kernel lets us choose."""
    one = socket.create_server(("127.0.0.1", 0), backlog=511)
    # Of a socket that it takes over nginx expects so: a child that another one was faster than would sleep in
    # accept(2), and all its connections with it.
    one.setblocking(False)
    with contextlib.suppress(OSError):
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    return one


@contextlib.contextmanager
def ringpull(place, secure, program):
    """`ringpull serve` over `place`/www, which takes cubic by itself; gives the same as `nginx`."""
    certificate = ["--cert", "cert.pem", "--key", "key.pem"]
    with contextlib.ExitStack() as stack:
        bases = []
        for more in [[], certificate] if secure else [[]]:
            command = [program, "serve", "--listen", "127.0.0.1:0", *more, "www"]
            server = stack.enter_context(running(command, place, stdout=subprocess.PIPE, text=True))
            stack.enter_context(server.stdout)
            bases.append(server.stdout.readline().rpartition(" on ")[2].strip())
        yield bases, "cubic"


def answers(url):
    """Whether there is an answer from loopback within five seconds."""
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.netloc, timeout=5)
    try:
        connection.request("HEAD", at.path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
