"""Where venues, kiosks and codes lie, on their own rows, and the words they are found by; triggers keep both true."""

import sqlalchemy as sa
from alembic import op

revision = "0123_places"
down_revision = "0001_frame"
branch_labels = ("search",)
depends_on = ("0002_venue_codes", "0094_cases")

# What is found by which words; the same statement on both stores but for `hex`.
_FILL = """
INSERT INTO search_entry (kind, area_path, venue_id, entrance, kiosk_id, words)
SELECT 'venue', v.area_path, v.id, 0, {empty}, lower(v.name_zh || ' ' || v.name_en || ' ' || v.address)
FROM venue v {where}
UNION ALL
SELECT 'entrance', v.area_path, v.id, e.number, {empty},
  lower(v.name_zh || ' ' || v.name_en || ' ' || e.name_zh || ' ' || e.name_en)
FROM entrance e JOIN venue v ON v.id = e.venue_id {where}
UNION ALL
SELECT 'kiosk', v.area_path, v.id, k.entrance, k.id, lower(k.name || ' ' || {hex} || ' ' || v.name_zh)
FROM kiosk k JOIN venue v ON v.id = k.venue_id {where}
"""
_PATH = "(SELECT area.path FROM area JOIN venue ON venue.area_code = area.code WHERE venue.id = {id})"

# after each of these, the paths and words of the venue in this column are written anew
_AFTER = (
    ("INSERT", "venue", "id"),
    ("UPDATE OF area_code, name_zh, name_en, address", "venue", "id"),
    ("INSERT", "entrance", "venue_id"),
    ("UPDATE OF name_zh, name_en", "entrance", "venue_id"),
    ("INSERT", "kiosk", "venue_id"),
    ("UPDATE OF name, venue_id, entrance", "kiosk", "venue_id"),
)


def _sqlite() -> list[str]:
    def fill(where: str) -> str:
        return _FILL.format(empty="x''", hex="lower(hex(k.id))", where=where)

    def own(venue: str) -> str:
        path = _PATH.format(id=venue)
        return (
            f"UPDATE venue SET area_path = {path} WHERE id = {venue} AND area_path <> {path};"
            f"UPDATE kiosk SET area_path = {path} WHERE venue_id = {venue} AND area_path <> {path};"
            f"UPDATE venue_code SET area_path = {path} WHERE venue_id = {venue} AND area_path <> {path};"
            f"DELETE FROM search_entry WHERE venue_id = {venue}; {fill(f'WHERE v.id = {venue}')};"
        )

    found = []
    for number, (event, table, column) in enumerate(_AFTER):
        body = own(f"NEW.{column}")
        found.append(f"CREATE TRIGGER places_{table}_{number} AFTER {event} ON {table} BEGIN {body} END")
    for table, column in (("venue", "id"), ("entrance", "venue_id"), ("kiosk", "venue_id")):
        body = f"DELETE FROM search_entry WHERE venue_id = OLD.{column}; {fill(f'WHERE v.id = OLD.{column}')};"
        found.append(f"CREATE TRIGGER places_{table}_delete AFTER DELETE ON {table} BEGIN {body} END")
    path = _PATH.format(id="NEW.venue_id")
    found.append(
        "CREATE TRIGGER places_code AFTER INSERT ON venue_code"
        f" BEGIN UPDATE venue_code SET area_path = {path} WHERE serial = NEW.serial; END"
    )
    return [*found, fill("")]


def _postgresql() -> list[str]:
    def fill(where: str) -> str:
        return _FILL.format(empty=r"'\x'::bytea", hex="encode(k.id, 'hex')", where=where)

    path = _PATH.format(id="place")
    found = [
        f"""
        CREATE FUNCTION places_refresh(place bytea) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
          UPDATE venue SET area_path = {path} WHERE id = place AND area_path <> {path};
          UPDATE kiosk SET area_path = {path} WHERE venue_id = place AND area_path <> {path};
          UPDATE venue_code SET area_path = {path} WHERE venue_id = place AND area_path <> {path};
          DELETE FROM search_entry WHERE venue_id = place;
          {fill("WHERE v.id = place")};
        END $$
        """,
        """
        CREATE FUNCTION places_changed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF TG_OP = 'DELETE' THEN
            IF TG_TABLE_NAME = 'venue' THEN PERFORM places_refresh(OLD.id);
            ELSE PERFORM places_refresh(OLD.venue_id); END IF;
          ELSIF TG_TABLE_NAME = 'venue' THEN PERFORM places_refresh(NEW.id);
          ELSE PERFORM places_refresh(NEW.venue_id); END IF;
          RETURN NULL;
        END $$
        """,
        f"""
        CREATE FUNCTION places_of_code() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.area_path := {_PATH.format(id="NEW.venue_id")}; RETURN NEW; END $$
        """,
        "CREATE TRIGGER places_code BEFORE INSERT ON venue_code FOR EACH ROW EXECUTE FUNCTION places_of_code()",
    ]
    for number, (event, table, _) in enumerate(_AFTER):
        found.append(
            f"CREATE TRIGGER places_{table}_{number} AFTER {event} ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION places_changed()"
        )
    for table in ("venue", "entrance", "kiosk"):
        found.append(
            f"CREATE TRIGGER places_{table}_delete AFTER DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION places_changed()"
        )
    return [*found, fill("")]


def upgrade() -> None:
    for table in ("venue", "kiosk", "venue_code"):
        op.add_column(table, sa.Column("area_path", sa.String(300), nullable=False, server_default=""))
    op.execute("UPDATE venue SET area_path = (SELECT area.path FROM area WHERE area.code = venue.area_code)")
    for table in ("kiosk", "venue_code"):
        op.execute(
            f"UPDATE {table} SET area_path = (SELECT venue.area_path FROM venue WHERE venue.id = {table}.venue_id)"
        )
    op.create_table(
        "search_entry",
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("area_path", sa.String(300), nullable=False),
        sa.Column("venue_id", sa.LargeBinary(6), nullable=False),
        sa.Column("entrance", sa.Integer(), nullable=False),
        sa.Column("kiosk_id", sa.LargeBinary(8), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "area_path", "venue_id", "entrance", "kiosk_id", name="pk_search_entry"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_search_entry_venue_id", "search_entry", ["venue_id"])
    op.create_index("ix_venue_area_path_id", "venue", ["area_path", "id"])
    op.create_index("ix_kiosk_area_path_id", "kiosk", ["area_path", "id"])
    op.create_index("ix_venue_code_area_path_serial", "venue_code", ["area_path", "serial"])
    op.create_index("ix_venue_code_state_serial", "venue_code", ["state", "serial"])
    escalated = sa.text("escalated_at IS NOT NULL")
    op.create_index(
        "ix_case_file_escalated", "case_file", ["machine", "clock"], sqlite_where=escalated, postgresql_where=escalated
    )
    op.create_index("ix_case_file_machine_opened_at_id", "case_file", ["machine", "opened_at", "id"])
    for statement in {"sqlite": _sqlite, "postgresql": _postgresql}[op.get_bind().dialect.name]():
        op.execute(sa.text(statement.replace(":=", r"\:=").replace("::", r"\:\:")))
