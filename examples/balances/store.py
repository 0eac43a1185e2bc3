"""The database: linked accounts, their encrypted tokens, and the last balance of each."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import (
    URL,
    DateTime,
    Dialect,
    ForeignKey,
    Numeric,
    Text,
    TypeDecorator,
    UniqueConstraint,
    create_engine,
    delete,
    make_url,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    selectinload,
    sessionmaker,
)
from sqlalchemy.types import TypeEngine

from mesh_facade import AccountBalance, LinkedAccount, MeshAPIError

from .tokens import Link, SettingsError, TokenCipher

URL_VARIABLE = "BALANCES_DATABASE_URL"
DEFAULT_URL = "sqlite:///balances.db"
KINDS = "use sqlite:///file.db or postgresql://user:password@host/database"
DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}
# Both have INSERT … ON CONFLICT DO UPDATE, but SQLAlchemy offers it for each kind of its own.
INSERTS: dict[str, Callable[..., sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


class Amount(TypeDecorator[Decimal]):
    """An exact amount: NUMERIC in PostgreSQL, text in SQLite, whose NUMERIC is a float."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the column's type in this kind of database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Text())
        return dialect.type_descriptor(Numeric())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | str | None:
        """Return the amount as it is stored."""
        if value is not None and dialect.name == "sqlite":
            return format(value, "f")
        return value

    def process_result_value(self, value: Decimal | str | None, dialect: Dialect) -> Decimal | None:
        """Return the amount as it was before it was stored."""
        del dialect
        return None if value is None else Decimal(value)


class UTCTime(TypeDecorator[datetime]):
    """A time in UTC. SQLite stores it without its time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC; PostgreSQL gives it in the time zone of the connection."""
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        return value.astimezone(UTC)


class Base(DeclarativeBase):
    """Maps Python types to the columns above."""

    type_annotation_map = {Decimal: Amount, datetime: UTCTime}  # noqa: RUF012 — SQLAlchemy's way


class Account(Base):
    """A linked account, and the last balance that was read."""

    __tablename__ = "accounts"
    __table_args__ = (UniqueConstraint("broker", "account_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    broker: Mapped[str]
    account_id: Mapped[str]
    name: Mapped[str]
    encrypted_tokens: Mapped[str]
    tokens_expire_at: Mapped[datetime | None]
    times_linked: Mapped[int]
    reconnect_required: Mapped[bool]
    last_error: Mapped[str | None]
    read_at: Mapped[datetime | None]
    total_cash_usd: Mapped[Decimal | None]
    total_buying_power_usd: Mapped[Decimal | None]
    rows: Mapped[list["BalanceRow"]] = relationship(order_by="BalanceRow.position")


class BalanceRow(Base):
    """What an account holds in one currency. None is not zero: Mesh did not say."""

    __tablename__ = "balance_rows"

    account: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    currency: Mapped[str | None]
    cash: Mapped[Decimal | None]
    buying_power: Mapped[Decimal | None]
    cryptocurrency_buying_power: Mapped[Decimal | None]


class AccountKey(NamedTuple):
    """Names an account as it was when its tokens were loaded."""

    id: int
    times_linked: int


class Store:
    """Reads and writes the database. Its methods block: async code calls them in a thread."""

    def __init__(self, url: str, cipher: TokenCipher) -> None:
        self._cipher = cipher
        # An error of SQLAlchemy quotes the values of its statement, unless they are hidden.
        self._engine = create_engine(_with_driver(url), hide_parameters=True)
        self._sessions = sessionmaker(self._engine, expire_on_commit=False)

    def open(self) -> None:
        """Create the tables that are missing, and encrypt all tokens with the newest key."""
        Base.metadata.create_all(self._engine)
        for account in self.accounts():
            self._rotate(account)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _rotate(self, account: Account) -> None:
        """Encrypt an account's tokens with the newest key, unless they are already."""
        old = account.encrypted_tokens
        if not self._cipher.needs_rotation(old):
            return
        new = self._cipher.encrypt(self._cipher.decrypt(old))
        # Another process may have stored newer tokens meanwhile: those stay.
        statement = (
            update(Account)
            .where(Account.id == account.id, Account.encrypted_tokens == old)
            .values(encrypted_tokens=new)
        )
        with self._sessions.begin() as session:
            session.execute(statement)

    def link(self, links: Iterable[Link]) -> None:
        """Store accounts; one that is there already gets the new tokens."""
        insert = INSERTS[self._engine.dialect.name]
        with self._sessions.begin() as session:
            # In one order, so that two payloads at a time cannot wait for each other.
            for link in sorted(links, key=lambda link: link.account_id):
                values = {
                    "name": link.name,
                    "encrypted_tokens": self._cipher.encrypt(link.tokens),
                    "tokens_expire_at": _expiry(link.lifetime),
                    "reconnect_required": False,
                    "last_error": None,
                }
                statement = insert(Account).values(
                    broker=link.broker, account_id=link.account_id, times_linked=1, **values
                )
                statement = statement.on_conflict_do_update(
                    index_elements=["broker", "account_id"],
                    set_={**values, "times_linked": Account.times_linked + 1},
                )
                session.execute(statement)

    def accounts(self) -> list[Account]:
        """Return all accounts with their last balances."""
        query = select(Account).options(selectinload(Account.rows)).order_by(Account.id)
        with self._sessions() as session:
            return list(session.scalars(query))

    def readable_accounts(self) -> list[LinkedAccount]:
        """Return the accounts whose tokens are not known to be dead, with their tokens."""
        query = select(Account).where(Account.reconnect_required.is_(False)).order_by(Account.id)
        readable: list[LinkedAccount] = []
        with self._sessions() as session:
            for account in session.scalars(query):
                tokens = self._cipher.decrypt(account.encrypted_tokens)
                key = AccountKey(account.id, account.times_linked)
                readable.append(LinkedAccount(tokens.auth_token, account.broker, key))
        return readable

    def record_balance(self, key: AccountKey, balance: AccountBalance) -> None:
        """Put a balance in place of the last one."""
        rows = [
            BalanceRow(
                account=key.id,
                position=position,
                currency=row.currency,
                cash=row.cash,
                buying_power=row.buying_power,
                cryptocurrency_buying_power=row.cryptocurrency_buying_power,
            )
            for position, row in enumerate(balance.rows)
        ]
        with self._sessions.begin() as session:
            # The update comes first: it locks the account, so two readings never mix their rows.
            is_current = _update_account(
                session,
                key,
                reconnect_required=False,
                last_error=None,
                read_at=_now(),
                total_cash_usd=balance.total_cash_usd,
                total_buying_power_usd=balance.total_buying_power_usd,
            )
            if is_current:
                session.execute(delete(BalanceRow).where(BalanceRow.account == key.id))
                session.add_all(rows)

    def record_error(self, key: AccountKey, error: Exception) -> None:
        """Keep the last balance, and note why there is no newer one."""
        reconnect_required = isinstance(error, MeshAPIError) and error.reconnect_required
        with self._sessions.begin() as session:
            _update_account(
                session,
                key,
                last_error=type(error).__name__,
                reconnect_required=reconnect_required,
            )


def _update_account(session: Session, key: AccountKey, **values: object) -> bool:
    """Update an account unless it was linked again meanwhile; return True if it was updated."""
    statement = (
        update(Account)
        .where(Account.id == key.id, Account.times_linked == key.times_linked)
        .values(**values)
        .returning(Account.id)
    )
    return session.scalars(statement).first() is not None


def _now() -> datetime:
    return datetime.now(UTC)


def _expiry(lifetime: timedelta | None) -> datetime | None:
    return None if lifetime is None else _now() + lifetime


def _with_driver(url: str) -> URL:
    """Return the database's URL with the driver that this application uses."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingsError(f"{URL_VARIABLE} is not a database URL: {KINDS}") from None
    kind = parsed.get_backend_name()
    if kind not in DRIVERS:
        raise SettingsError(f"{URL_VARIABLE} names an unknown kind of database, {kind!r}: {KINDS}")
    if kind == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise SettingsError(f"{URL_VARIABLE} must name a file: {KINDS}")
    return parsed.set(drivername=DRIVERS[kind])
