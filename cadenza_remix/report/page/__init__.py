"""The report as one HTML file; `cadenza_remix.report.page.writing.write_report` makes it."""
