"""The listening room and listening tests: a server for browsers (extra ``listen``)."""
