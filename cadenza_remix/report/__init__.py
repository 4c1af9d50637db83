"""What came out, for people to read: tables and figures of score records."""
