"""Looking at sessions, finished or running: loading, listing, plotting, reporting, exporting. Nothing imports it."""
