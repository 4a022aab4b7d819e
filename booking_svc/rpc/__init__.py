"""Wire types in, wire types out: each handler turns a request into a command and a result into a reply."""
