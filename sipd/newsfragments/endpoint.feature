`sipd.ua.endpoint.Endpoint` is a signalling endpoint with a handler for each method, and hooks; modules with priorities may intercept what comes above or below the transactions.
