"""The frame around every page: who may use a route, language, security headers, errors, health."""
