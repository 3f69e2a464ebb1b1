`[metrics]` lets Prometheus ask for calls, trunks, quality of media, registrations, messages and the process, and load balancers whether calls are taken; who may ask is configured.
