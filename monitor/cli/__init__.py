"""The command line: parsing and printing only. One file a subcommand, imported when it is called."""
