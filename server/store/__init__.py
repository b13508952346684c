"""What is kept of requests: a journal on this machine, drained to SQL off their way."""
