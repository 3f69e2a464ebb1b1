Gateways may challenge any request of a call: what they took goes along with the next one, and `caller_credentials` of a route answers those that call.
