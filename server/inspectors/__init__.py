"""Inspectors' passes: hours, a named person, named venues or kiosks; who issued them stands in the audit trail."""
