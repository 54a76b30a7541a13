"""What can be wrong with an entry about a resident, in sentences of the catalogue."""

from __future__ import annotations

from config.errors import GatehouseError


class ResidentError(GatehouseError):
    """An entry that cannot be taken, or a step that is not possible now; the message is one of the catalogue.

    `field` names the part of the form it belongs to: "name", "id_number", "phone", "area_code", or "" for none.
    """

    code = "resident"

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field
