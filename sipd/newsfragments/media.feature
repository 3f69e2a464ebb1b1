Media is forwarded by the kernel where that is possible, by workers where that is configured, by rtpengine where there is one, and otherwise as before; calls keep their audio when one of them ends.
