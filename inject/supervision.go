package inject

import "time"

// Defaults of a Supervision.
const (
	DefaultStopTimeout = 10 * time.Second
	DefaultSettle      = 100 * time.Millisecond
)
