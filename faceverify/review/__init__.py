"""The page on which a person decides what cleaning was not sure of: served on this machine, or as one file to mail.

`table` opens what `clean` left, `cases` reads one person at a time, `view` says what the page shows of a person,
`ledger` keeps the decisions, `app` and `server` answer the browser, `export` writes the file. Page, style and script
are the same for both; the script's `store.js` holds the difference.
"""
