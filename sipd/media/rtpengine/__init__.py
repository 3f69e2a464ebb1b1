"""Media relayed by rtpengine daemons, told what to do by their "ng" control protocol."""
