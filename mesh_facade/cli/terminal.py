"""Text for people: one-line messages, and the table of a balance."""

import contextlib
import os
import sys
from collections.abc import Generator, Sequence
from decimal import Decimal
from typing import TextIO

import click

from mesh_facade import AccountBalance

_UNKNOWN = "-"  # None is not 0
_COLUMNS = ("currency", "cash", "buying power", "crypto buying power")


def one_line(text: str) -> str:
    """Return a text on one line, without characters that could control the terminal."""
    printable = ""
    for character in text:
        if character.isprintable():
            printable += character
        else:
            printable += " "
    return " ".join(printable.split())


def print_message(text: str) -> None:
    """Print a line on stderr; if the reader of stderr has ended, the line is lost."""
    with ignore_broken_stderr():
        click.echo(text, err=True)


@contextlib.contextmanager
def ignore_broken_stderr() -> Generator[None]:
    """Let the block print on stderr, and go on if the reader of stderr has ended.

    A lost message must not change how a command ends: its exit code says whether it failed.
    """
    try:
        yield
    except BrokenPipeError:
        redirect_to_devnull(sys.stderr)


def redirect_to_devnull(stream: TextIO) -> None:
    """Redirect a stream to the null device, so that flushing it at exit does not fail again."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)


def print_table(balance: AccountBalance) -> None:
    """Print a row for each currency, then the totals, with aligned decimal points."""
    from rich.console import Console  # noqa: PLC0415 — slow to import, and only used here
    from rich.table import Table  # noqa: PLC0415 — the same

    currencies = [one_line(row.currency or _UNKNOWN) for row in balance.rows]
    cash = [row.cash for row in balance.rows]
    buying_power = [row.buying_power for row in balance.rows]
    crypto_buying_power = [row.cryptocurrency_buying_power for row in balance.rows]

    currencies.append("total in USD")
    cash.append(balance.total_cash_usd)
    buying_power.append(balance.total_buying_power_usd)
    crypto_buying_power.append(None)  # Mesh sends no such total

    columns = [currencies, _align(cash), _align(buying_power), _align(crypto_buying_power)]
    rows = zip(*columns, strict=True)
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    # Wider than any real table: on a narrower console, rich would cut off digits.
    console = Console(width=10_000, markup=False, highlight=False)
    # rich only formats the table. If it printed it to a broken pipe, it would exit with 1.
    with console.capture() as capture:
        console.print(table)
    click.echo(capture.get(), nl=False)


def _align(amounts: Sequence[Decimal | None]) -> list[str]:
    """Return the amounts of a column as text, padded so that their decimal points are aligned."""
    texts = [_format_amount(amount) for amount in amounts]
    whole_parts = [text.partition(".")[0] for text in texts]
    width = max(len(whole_part) for whole_part in whole_parts)
    return [
        " " * (width - len(whole_part)) + text
        for text, whole_part in zip(texts, whole_parts, strict=True)
    ]


def _format_amount(amount: Decimal | None) -> str:
    if amount is None:
        return _UNKNOWN
    return format(amount, "f")
