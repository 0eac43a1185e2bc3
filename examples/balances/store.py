"""The database: linked accounts, their encrypted tokens, and the last balance of each."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import (
    URL,
    DateTime,
    Dialect,
    Engine,
    ForeignKey,
    Numeric,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Update,
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
    joinedload,
    mapped_column,
    relationship,
    sessionmaker,
)
from sqlalchemy.types import TypeEngine

from mesh_facade import AccountBalance, LinkedAccount, MeshAPIError

from .tokens import AccountToLink, SettingsError, TokenCipher

URL_VARIABLE = "BALANCES_DATABASE_URL"
DEFAULT_URL = "sqlite:///balances.db"
HOW_TO_WRITE_THE_URL = "use sqlite:///file.db or postgresql://user:password@host/database"
DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}
# Both databases have INSERT … ON CONFLICT DO UPDATE, but SQLAlchemy has no function for both.
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
        if value is None:
            return None
        return Decimal(value)


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
    # An application with users adds the user here, and in `index_elements` below: otherwise one
    # user could take over the account of another.
    # Without AUTOINCREMENT, SQLite gives the id of a removed account to the next one.
    __table_args__ = (
        UniqueConstraint("broker", "account_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    broker: Mapped[str]
    account_id: Mapped[str]
    name: Mapped[str]
    encrypted_token: Mapped[str]
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

    account_pk: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    currency: Mapped[str | None]
    cash: Mapped[Decimal | None]
    buying_power: Mapped[Decimal | None]
    cryptocurrency_buying_power: Mapped[Decimal | None]


class AccountKey(NamedTuple):
    """Identifies an account and the token that was loaded with it.

    `times_linked` changes when the account is linked again.
    """

    id: int
    times_linked: int


class Store:
    """Reads and writes the database. Its methods block: async code calls them in a thread."""

    def __init__(self, url: str, cipher: TokenCipher) -> None:
        self._cipher = cipher
        self._engine = _create_engine(url)
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
        """Encrypt an account's token with the newest key, unless it is already."""
        old = account.encrypted_token
        if not self._cipher.needs_rotation(old):
            return
        new = self._cipher.encrypt(self._cipher.decrypt(old))
        # Another process may have stored a newer token meanwhile: that one stays.
        statement = (
            update(Account)
            .where(Account.id == account.id, Account.encrypted_token == old)
            .values(encrypted_token=new)
        )
        with self._sessions.begin() as session:
            session.execute(statement)

    def link(self, accounts: Iterable[AccountToLink]) -> None:
        """Store accounts; one that is there already gets the new token."""
        insert = INSERTS[self._engine.dialect.name]
        with self._sessions.begin() as session:
            # In one order, so that two payloads at a time cannot wait for each other.
            for account in sorted(accounts, key=lambda account: account.account_id):
                values = {
                    "name": account.name,
                    "encrypted_token": self._cipher.encrypt(account.auth_token),
                    "tokens_expire_at": _expiry(account.lifetime),
                    "reconnect_required": False,
                    "last_error": None,
                }
                statement = insert(Account).values(
                    broker=account.broker,
                    account_id=account.account_id,
                    times_linked=1,
                    **values,
                )
                statement = statement.on_conflict_do_update(
                    index_elements=["broker", "account_id"],
                    set_={**values, "times_linked": Account.times_linked + 1},
                )
                session.execute(statement)

    def remove(self, account_pk: int) -> None:
        """Delete an account, its token and its balance."""
        with self._sessions.begin() as session:
            # The update locks the account, so that no reading adds rows before it is deleted.
            session.execute(
                update(Account)
                .where(Account.id == account_pk)
                .values(times_linked=Account.times_linked + 1)
            )
            session.execute(delete(BalanceRow).where(BalanceRow.account_pk == account_pk))
            session.execute(delete(Account).where(Account.id == account_pk))

    def accounts(self) -> list[Account]:
        """Return all accounts with their last balances."""
        # One SELECT with a join: between two of them, a reading could change totals and rows.
        query = select(Account).options(joinedload(Account.rows)).order_by(Account.id)
        with self._sessions() as session:
            return list(session.scalars(query).unique())

    def readable_accounts(self) -> list[LinkedAccount]:
        """Return the accounts whose tokens are not known to be dead, with their tokens."""
        query = select(Account).where(Account.reconnect_required.is_(False)).order_by(Account.id)
        readable: list[LinkedAccount] = []
        with self._sessions() as session:
            for account in session.scalars(query):
                auth_token = self._cipher.decrypt(account.encrypted_token)
                key = AccountKey(account.id, account.times_linked)
                readable.append(LinkedAccount(auth_token, account.broker, key))
        return readable

    def record_balance(self, key: AccountKey, balance: AccountBalance) -> None:
        """Put a balance in place of the last one."""
        rows = [
            BalanceRow(
                account_pk=key.id,
                position=position,
                currency=_escape_unprintable(row.currency),
                cash=row.cash,
                buying_power=row.buying_power,
                cryptocurrency_buying_power=row.cryptocurrency_buying_power,
            )
            for position, row in enumerate(balance.rows)
        ]
        statement = _update_account(key).values(
            reconnect_required=False,
            last_error=None,
            read_at=_now(),
            total_cash_usd=balance.total_cash_usd,
            total_buying_power_usd=balance.total_buying_power_usd,
        )
        with self._sessions.begin() as session:
            # The update comes first: it locks the account, so two readings never mix their rows.
            updated = session.scalars(statement.returning(Account.id)).all()
            if updated:
                session.execute(delete(BalanceRow).where(BalanceRow.account_pk == key.id))
                session.add_all(rows)

    def record_error(self, key: AccountKey, error: Exception) -> None:
        """Keep the last balance, and note why there is no newer one."""
        statement = _update_account(key).values(last_error=type(error).__name__)
        if isinstance(error, MeshAPIError) and error.reconnect_required:
            statement = statement.values(reconnect_required=True)
        else:
            # Another reading may have found that the token is dead: that error stays.
            statement = statement.where(Account.reconnect_required.is_(False))
        with self._sessions.begin() as session:
            session.execute(statement)


def _update_account(key: AccountKey) -> Update:
    """Return an UPDATE of an account that changes nothing if it was linked again meanwhile."""
    return update(Account).where(Account.id == key.id, Account.times_linked == key.times_linked)


def _escape_unprintable(currency: str | None) -> str | None:
    r"""Return a currency code with unprintable characters as escapes, such as `\x00` for NUL.

    PostgreSQL cannot store NUL.
    """
    if currency is None or currency.isprintable():
        return currency
    return currency.encode("unicode_escape").decode()


def _now() -> datetime:
    return datetime.now(UTC)


def _expiry(lifetime: timedelta | None) -> datetime | None:
    if lifetime is None:
        return None
    return _now() + lifetime


def _create_engine(url: str) -> Engine:
    """Return the engine for a database URL, with the driver that this application uses.

    Raises:
        SettingsError: The URL cannot be used. The message shows its scheme at most: SQLAlchemy's
            errors quote parts of the URL, such as the password.
    """
    try:
        # An error of SQLAlchemy quotes the values of its statement, unless they are hidden.
        return create_engine(_with_driver(make_url(url)), hide_parameters=True)
    except SettingsError:
        raise
    except (ArgumentError, ValueError):
        raise SettingsError(
            f"{URL_VARIABLE} is not a database URL: {HOW_TO_WRITE_THE_URL}"
        ) from None


def _with_driver(parsed: URL) -> URL:
    """Return the database's URL with the driver that this application uses."""
    kind = parsed.get_backend_name()
    if kind not in DRIVERS:
        raise SettingsError(
            f"{URL_VARIABLE} names an unknown kind of database, {kind!r}: {HOW_TO_WRITE_THE_URL}"
        )
    if kind == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise SettingsError(f"{URL_VARIABLE} must name a file: {HOW_TO_WRITE_THE_URL}")
    return parsed.set(drivername=DRIVERS[kind])
