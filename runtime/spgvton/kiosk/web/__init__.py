"""The pages, their API, and the server of both."""
