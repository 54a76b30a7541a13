"""Taking in what kiosks send: enrolment, the exchange, the journals and what is kept aside."""
