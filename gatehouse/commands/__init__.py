"""One module per subcommand: `configure(parser)` declares its arguments, `run(args)` returns the exit code."""
