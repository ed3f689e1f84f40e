"""The server's side of every channel, without I/O: one module per channel, each with the state that migrates."""
