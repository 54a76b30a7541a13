"""The fleet: kiosks, their enrolment and their state."""
