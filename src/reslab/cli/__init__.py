"""The command line: thin, one file a command, loaded when it is called."""
