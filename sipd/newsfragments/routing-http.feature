`[routing.http]` asks an HTTP service where calls go, with a time limit, the last good answer or the dial plan where it does not answer, and a rest for one that fails (docs/routing-http.md).
