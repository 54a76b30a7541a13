"""What permissions are called on pages; the Chinese names are in the catalogue."""

from __future__ import annotations

from server.accounts.roles import Permission

PERMISSION_NAMES: dict[Permission, str] = {
    Permission.PASSAGES: "Passages, by approved query",
    Permission.RESIDENTS: "Residents' records",
    Permission.QUERY_APPROVE: "Approving queries",
    Permission.RISK_ALERTS: "Risk alerts",
    Permission.KIOSK_LOGS: "Kiosk journals",
    Permission.AUDIT: "The audit trail",
    Permission.USERS: "Accounts and roles",
    Permission.KIOSKS: "Kiosks",
}
