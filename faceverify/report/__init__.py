"""Self-contained HTML reports: `page.render_report` makes one file that needs no network, no script and no server."""
