// Package silence limits how long a peer may fail to acknowledge before its connection counts as broken. Otherwise one that is
// half open is noticed after a quarter of an hour, or never.
package silence

import (
	"net"
	"time"
)

// Limit is how long a peer may be silent while sent bytes are unacknowledged, and about how long while the connection is idle.
const Limit = 25 * time.Second

// KeepAlive probes idle connections.
var KeepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}
