"""`zooadapt plugins list`: the plugin author's commands."""

from __future__ import annotations

from typing import Any

import click

from zooadapt.cli.output import emit, table


@click.group()
def plugins() -> None:
    """List, check and create plugins."""


@plugins.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def list_plugins(as_json: bool) -> None:
    """Installed families; a broken one with its reason."""
    from zooadapt import registry

    found: list[dict[str, Any]] = [registry.describe(plugin) for plugin in registry.installed()]

    def show() -> None:
        table(
            "",
            ["plugin", "distribution", "version", "interface", "modality", "status"],
            [
                [
                    p["name"],
                    p["distribution"],
                    p["version"],
                    p["api"] or "",
                    p["modality"] or "",
                    p["error"] or "ok",
                ]
                for p in found
            ],
        )

    emit({"plugins": found}, as_json, show)
