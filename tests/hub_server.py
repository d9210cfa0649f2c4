"""
A small Hub on this machine: it keeps what huggingface_hub's client sends and serves it back.

Repositories of models with branches and commits, large files by the LFS protocol, tokens with write access to one
namespace. A commit is one assignment: a branch points to the old tree or to the new one. Not Xet: its storage has a
protocol of its own, so clients are run with HF_HUB_DISABLE_XET=1.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml


LFS_SUFFIXES = (".safetensors", ".bin", ".model")  # as in the .gitattributes that the Hub gives a new repository
LARGE = 10 * 2**20
LICENCES = ("mit", "apache-2.0", "cc-by-nc-sa-4.0", "other")  # the real Hub knows more


@dataclass(frozen=True)
class File:
    """A file of a tree: its bytes, and whether they lie in LFS."""

    content: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def oid(self) -> str:
        """What the client compares to know whether a file has changed."""
        return self.sha256 if self.lfs else hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()

    def entry(self, path: str) -> dict:
        lfs = {"lfs": {"oid": self.sha256, "size": len(self.content), "pointerSize": 134}} if self.lfs else {}
        return {"type": "file", "path": path, "size": len(self.content), "oid": self.oid, **lfs}


@dataclass
class Repo:
    private: bool
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, tree: dict[str, File], message: str) -> str:
        parent = self.branches.get(branch, "")
        named = json.dumps([parent, message, {path: file.oid for path, file in sorted(tree.items())}])
        commit = hashlib.sha1(named.encode()).hexdigest()
        self.commits[commit], self.messages[commit] = tree, message
        self.branches[branch] = commit
        return commit


class Refusal(Exception):
    """An answer that is no success, with the header by which the client knows what it means."""

    def __init__(self, status: int, message: str, code: str = "", body: dict | None = None):
        self.status, self.message, self.code, self.body = status, message, code, body or {"error": message}


class HubServer:
    """
    Serves from construction to `close`, at `url`.

    Args:
        tokens (`dict[str, str]`): User of each token; a user writes to the namespace of that name alone.
    """

    def __init__(self, tokens: dict[str, str]):
        self.tokens, self.repos, self.objects = tokens, {}, {}
        self.uploads, self.requests = [], []  # digests sent by PUT; (method, path) of every request
        self.before_answer: Callable[[str, str], None] = lambda method, path: None  # may wait, to hold a client there
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.server.handle_error = lambda *args: None  # a client that was killed
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def tree(self, repo_id: str, revision: str = "main") -> dict[str, File]:
        repo = self.repos[repo_id]
        return repo.commits[repo.branches.get(revision, revision)]


class Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def handle_any(self):
        path, hub = unquote(urlsplit(self.path).path), self.hub
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length) if "chunked" not in self.headers.get("Transfer-Encoding", "") else self.chunks()
        hub.requests.append((self.command, path))
        try:
            for method, pattern, answer in ROUTES:
                if method == self.command and (match := re.fullmatch(pattern, path)):
                    with hub.lock:
                        status, headers, content = answer(self, body, *match.groups())
                    break
            else:
                raise Refusal(404, f"No route {self.command} {path}")
        except Refusal as refusal:
            status, content = refusal.status, json.dumps(refusal.body).encode()
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
        hub.before_answer(self.command, path)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def chunks(self) -> bytes:
        """A body sent in chunks."""
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    # Who may do what

    def user(self) -> str | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.tokens:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return self.hub.tokens.get(token)

    def readable(self, repo_id: str) -> Repo:
        repo = self.hub.repos.get(repo_id)
        if repo is None or (repo.private and self.user() != repo_id.split("/")[0]):
            raise Refusal(404 if self.user() else 401, "Repository not found", "RepoNotFound")
        return repo

    def writable(self, repo_id: str) -> Repo:
        if self.user() is None:
            raise Refusal(401, "Invalid username or password.")
        repo = self.readable(repo_id)
        if self.user() != repo_id.split("/")[0]:
            raise Refusal(403, "Forbidden: you don't have the required permissions")
        return repo

    def at(self, repo: Repo, revision: str) -> str:
        commit = repo.branches.get(revision, revision)
        if commit not in repo.commits:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    # Repositories

    def create_repo(self, body: bytes):
        asked, user = json.loads(body), self.user()
        if user is None:
            raise Refusal(401, "Invalid username or password.")
        owner = asked.get("organization") or user
        if owner != user:
            raise Refusal(403, f"You don't have the rights to create a model under the namespace {owner!r}")
        repo_id = f"{owner}/{asked['name']}"
        answer = {"url": f"{self.hub.url}/{repo_id}", "name": repo_id}
        if repo_id in self.hub.repos:
            raise Refusal(409, "You already created this model repo", body={"error": "exists", **answer})
        self.hub.repos[repo_id] = Repo(private=asked.get("visibility") == "private")
        self.hub.repos[repo_id].commit(
            "main", {".gitattributes": File(b"*.safetensors filter=lfs\n", False)}, "initial"
        )
        return as_json(answer)

    def create_branch(self, body: bytes, repo_id: str, branch: str):
        repo = self.writable(repo_id)
        if branch in repo.branches:
            raise Refusal(409, "Reference already exists")
        repo.branches[branch] = self.at(repo, json.loads(body).get("startingPoint") or "main")
        return as_json({})

    def info(self, body: bytes, repo_id: str, revision: str | None = None):
        repo = self.readable(repo_id)
        commit = self.at(repo, revision or "main")
        siblings = [{"rfilename": path} for path in sorted(repo.commits[commit])]
        return as_json({"id": repo_id, "sha": commit, "private": repo.private, "siblings": siblings})

    def list_tree(self, body: bytes, repo_id: str, revision: str, folder: str | None = None):
        repo = self.readable(repo_id)
        tree, prefix = repo.commits[self.at(repo, revision)], f"{folder}/" if folder else ""
        entries = [file.entry(path) for path, file in sorted(tree.items()) if path.startswith(prefix)]
        if prefix and not entries:
            raise Refusal(404, f"{folder} does not exist on {revision!r}", "EntryNotFound")
        if "recursive=true" not in self.path.lower():
            entries = [entry for entry in entries if "/" not in entry["path"].removeprefix(prefix)]
        return as_json(entries)

    # Uploads

    def validate_yaml(self, body: bytes):
        block = re.match(r"---\n(.*?)\n---\n", json.loads(body)["content"], re.DOTALL)
        metadata = yaml.safe_load(block[1]) if block else {}
        errors = []
        if metadata.get("license", "mit") not in LICENCES:
            errors.append({"message": '"license" must be one of the licenses of the Hub'})
        for model in metadata.get("model-index", []):
            for result in model["results"]:
                errors += [{"message": f"{name} is required"} for name in ("task", "dataset") if not result.get(name)]
        if errors:
            raise Refusal(400, "Invalid metadata", body={"errors": errors, "warnings": []})
        return as_json({"errors": [], "warnings": [] if metadata else [{"message": "empty or missing yaml metadata"}]})

    def preupload(self, body: bytes, repo_id: str, revision: str):
        repo, answers = self.writable(repo_id), []
        tree = repo.commits[self.at(repo, revision)]
        for file in json.loads(body)["files"]:
            lfs = file["path"].endswith(LFS_SUFFIXES) or file["size"] > LARGE
            known = tree.get(file["path"])
            answers.append(
                {"path": file["path"], "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
                | ({"oid": known.oid} if known else {})
            )
        return as_json({"files": answers})

    def lfs_batch(self, body: bytes, repo_id: str):
        self.writable(repo_id)
        objects = []
        for wanted in json.loads(body)["objects"]:
            upload = {
                "upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}"},
                "verify": {"href": f"{self.hub.url}/lfs/{wanted['oid']}/verify"},
            }
            objects.append(wanted | ({} if wanted["oid"] in self.hub.objects else {"actions": upload}))
        return as_json({"transfer": "basic", "objects": objects})

    def lfs_put(self, body: bytes, oid: str):
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refusal(400, "The content does not have this digest")
        self.hub.uploads.append(oid)
        self.hub.objects[oid] = body
        return 200, {"ETag": f'"{oid}"'}, b""

    def lfs_verify(self, body: bytes, oid: str):
        if len(self.hub.objects.get(oid, b"")) != json.loads(body)["size"]:
            raise Refusal(404, "The object was not uploaded")
        return as_json({})

    def commit(self, body: bytes, repo_id: str, revision: str):
        repo = self.writable(repo_id)
        tree = dict(repo.commits[self.at(repo, revision)])
        for line in body.splitlines():
            key, value = (item := json.loads(line))["key"], item["value"]
            if key == "header":
                message = value["summary"]
                if value.get("parentCommit") not in (None, repo.branches.get(revision)):
                    raise Refusal(412, "A commit has happened since. Please refresh and try again.")
            elif key == "file":
                tree[value["path"]] = File(base64.b64decode(value["content"]), lfs=False)
            elif key == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    raise Refusal(400, f"LFS pointer of {value['path']} points to a file that does not exist")
                tree[value["path"]] = File(self.hub.objects[value["oid"]], lfs=True)
            elif key == "deletedFile":
                if tree.pop(value["path"], None) is None:
                    raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
            else:
                raise Refusal(400, f"Unknown operation {key}")
        commit = repo.commit(revision, tree, message)
        return as_json({"commitUrl": f"{self.hub.url}/{repo_id}/commit/{commit}", "commitOid": commit})

    # Downloads

    def resolve(self, body: bytes, repo_id: str, revision: str, path: str):
        repo = self.readable(repo_id)
        commit = self.at(repo, revision)
        file = repo.commits[commit].get(path)
        if file is None:
            raise Refusal(404, f"{path} does not exist", "EntryNotFound")
        headers = {"ETag": f'"{file.oid}"', "X-Repo-Commit": commit, "Content-Type": "application/octet-stream"}
        return 200, headers, file.content


def as_json(answer) -> tuple[int, dict, bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


REPO = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    ("POST", "/api/repos/create", Handler.create_repo),
    ("POST", "/api/validate-yaml", Handler.validate_yaml),
    ("POST", rf"/api/models/{REPO}/branch/(.+)", Handler.create_branch),
    ("POST", rf"/api/models/{REPO}/preupload/(.+)", Handler.preupload),
    ("POST", rf"/api/models/{REPO}/commit/(.+)", Handler.commit),
    ("GET", rf"/api/models/{REPO}/tree/([^/]+)(?:/(.+))?", Handler.list_tree),
    ("GET", rf"/api/models/{REPO}/revision/(.+)", Handler.info),
    ("GET", rf"/api/models/{REPO}", Handler.info),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", Handler.lfs_batch),
    ("POST", r"/lfs/([0-9a-f]{64})/verify", Handler.lfs_verify),
    ("PUT", r"/lfs/([0-9a-f]{64})", Handler.lfs_put),
    ("HEAD", rf"/{REPO}/resolve/([^/]+)/(.+)", Handler.resolve),
    ("GET", rf"/{REPO}/resolve/([^/]+)/(.+)", Handler.resolve),
]
