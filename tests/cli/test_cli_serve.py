"""`empathav serve`: what it says before anything is loaded. What it serves is tested in tests/chat/test_server.py."""

import sys

import pytest
from typer.testing import CliRunner

from transformers_empathav.cli import app


pytest.importorskip("fastapi", reason="the server needs the extra serve")
pytest.importorskip("prometheus_client", reason="the server needs the extra serve")


def refused(*arguments) -> str:
    result = CliRunner().invoke(app, ["serve", "no-checkpoint", *arguments])
    assert result.exit_code == 2, (result.stdout, result.stderr, result.exception)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    return line


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "transformers-empathav[serve]" in refused()


def test_a_store_that_cannot_be_opened_is_named():
    assert "nosuch://x" in refused("--store", "nosuch://x")


def test_who_may_use_it_is_said(monkeypatch):
    monkeypatch.delenv("EMPATHAV_API_KEY", raising=False)
    result = CliRunner().invoke(app, ["serve", "no-checkpoint", "--host", "0.0.0.0"])
    assert "warning: anybody who reaches 0.0.0.0" in result.stderr
    assert "warning" not in CliRunner().invoke(app, ["serve", "no-checkpoint"]).stderr
    monkeypatch.setenv("EMPATHAV_API_KEY", "secret")
    assert "warning" not in CliRunner().invoke(app, ["serve", "no-checkpoint", "--host", "0.0.0.0"]).stderr
