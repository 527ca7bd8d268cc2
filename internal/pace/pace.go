// Package pace decides when a client that follows a resource sends its requests, how long each of them waits for a change, and
// when it gives one up.
// Nothing in it sends or sleeps, so a simulation of very many clients runs the same code as each of them.
package pace

import (
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

const (
	longestWait  = 50 * time.Second // below the 60 s after which many proxies cut a silent connection
	longestAsked = time.Hour
)

// The first pause after a failure, or after a response that came too early, and the longest.
const (
	FirstRetry   = 250 * time.Millisecond
	LongestRetry = 30 * time.Second
)

// How long a client waits before it gives up a request.
const (
	ConnectTime = 3 * time.Second // for a connection, then for its TLS handshake
	AnswerTime  = 5 * time.Second // from the start of a request to the header of its response; a wait is added
)

// NewRetry returns the pauses after failures.
func NewRetry() *delay.Backoff { return delay.NewBackoff(FirstRetry, LongestRetry) }

// Asked limits the pause that a vault asks for.
func Asked(d time.Duration) time.Duration { return min(max(d, 0), longestAsked) }

// Wait paces the requests that wait for a change. The zero Wait is ready to use. It isn't safe for concurrent use.
//
// Whatever made this client send a request, such as a change of the set or a restart of the vault, probably made others send
// theirs at the same time. If each waited equally long for the next change, they would all come back together, again and again.
// So the first wait ends at a random time, and the others, which are equally long, keep the clients apart.
type Wait struct {
	failed bool           // the last request
	apart  bool           // the last request was a wait that ended without a change
	early  *delay.Backoff // pauses after responses that came too early; nil: none did
	pause  time.Duration  // before the next wait
	wait   time.Duration  // of the current request
}

// Next returns the pause before the next request, and how long that waits for a change. Both are zero if the set is wanted at
// once, and after a failure.
func (w *Wait) Next(atOnce bool) (pause, wait time.Duration) {
	if w.wait = 0; atOnce || w.failed {
		return 0, 0
	}
	if w.wait = longestWait; !w.apart {
		w.wait = time.Second + delay.Random(longestWait)
	}
	return w.pause, w.wait.Truncate(time.Second)
}

// Changed notes a response with another set.
func (w *Wait) Changed() {
	w.failed, w.apart = false, false
	w.settle()
}

// Unchanged notes a response without a change, which took some time.
func (w *Wait) Unchanged(took time.Duration) {
	w.failed = false
	switch {
	case w.wait == 0:
	case took < w.wait/2: // the vault is stopping, or never waits
		if w.early == nil {
			w.early = NewRetry()
		}
		w.pause = delay.Jitter(w.early.Next())
	default:
		w.apart = true
		w.settle()
	}
}

// Failed notes a request without a usable response.
func (w *Wait) Failed() { w.failed, w.apart = true, false }

// settle ends the pauses after responses that came too early.
func (w *Wait) settle() { w.pause, w.early = 0, nil }
