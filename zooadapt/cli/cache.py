"""`zooadapt cache list` and `clear`: downloads and features that earlier commands stored."""

from __future__ import annotations

import click

from zooadapt.cli import options as shared
from zooadapt.cli.commands import Group
from zooadapt.cli.output import emit, say, table


@click.group(cls=Group)
def cache() -> None:
    """Show and remove what is stored on this machine."""


@cache.command("list", short_help="List what is stored, with sizes.", example="zooadapt cache list")
@shared.as_json
def list_stored(as_json: bool) -> None:
    """List what is stored on this machine, the largest first."""
    from zooadapt.zoo.stored import stored

    rows = stored()
    total = sum(row["bytes"] for row in rows)

    def show() -> None:
        cells = [[row["kind"], row["name"], f"{row['bytes'] / 1e6:,.1f}"] for row in rows]
        table("", ["what", "name", "MB"], cells)
        say(f"{total / 1e6:,.1f} MB in total; zooadapt cache clear --features --sources removes it")

    emit({"stored": rows, "bytes": total}, as_json, show)


@cache.command(
    "clear",
    short_help="Remove stored features, downloaded models or both.",
    example="zooadapt cache clear --features",
)
@shared.option(
    "--features", is_flag=True, help="Remove stored features; they are computed again when needed."
)
@shared.option(
    "--sources", is_flag=True, help="Remove downloaded models; they are fetched again when needed."
)
@shared.as_json
def clear(features: bool, sources: bool, as_json: bool) -> None:
    """Remove what is stored on this machine, except the features that a run is using."""
    from zooadapt.errors import UsageError
    from zooadapt.zoo.stored import clear_features, clear_sources

    if not features and not sources:
        raise UsageError(
            "no option names what to remove",
            thing="--features",
            remedy="zooadapt cache clear --features, --sources or both",
        )
    freed = (clear_features() if features else 0) + (clear_sources() if sources else 0)
    emit({"freed": freed}, as_json, lambda: say(f"{freed / 1e6:,.1f} MB freed"))
