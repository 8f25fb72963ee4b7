"""One program per claim: each measures this project and a rival on the same work in one run. See README.md."""
