"""The vault: the only process that can open sealed passages, and only for an approver's own signature.

Who imports what: the web and the worker import `client`, `wire`, `approvals` and `person`; everything else belongs to
the vault process and its commands.
"""
