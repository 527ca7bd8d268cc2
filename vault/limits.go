package vault

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/limit"
)

// limits are the limits of requests. The store has those of changes and of what is stored.
type limits struct {
	values   *limit.Values
	failures *limit.Rate
	requests *limit.RequestLimits
	memory   *limit.Budget
	listener atomic.Pointer[limit.Listener] // of the last Serve; nil: none
}

func (l *limits) set(v limit.Values) {
	values := &v
	l.values = values
	l.failures = limit.NewRate(values, limit.AddressFailures, 0)
	l.requests = limit.NewRequestLimits(values)
	l.memory = limit.NewBudget(values)
}

// listen limits the connections of l.
func (v *Vault) listen(l net.Listener) net.Listener {
	limited := limit.Listen(l, v.limits.values, func(id limit.ID) { v.metrics.countRefusal(id.String()) })
	v.limits.listener.Store(limited)
	return limited
}

// countedBody is a body that counts what is read of it.
type countedBody struct {
	io.ReadCloser
	read int
}

func (c *countedBody) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.read += n
	return n, err
}

// A body must arrive at this rate, in bytes per second, on average, after some time for the first ones.
const (
	bodyRate  = 64 << 10
	bodyGrace = 10 * time.Second
)

// pacedBody is a body that fails if it comes too slowly, so that it doesn't keep its memory.
type pacedBody struct {
	body  interface{ Read([]byte) (int, error) }
	conn  *http.ResponseController
	begun time.Time
	read  int
}

func (p *pacedBody) Read(b []byte) (int, error) {
	allowed := min(bodyGrace+time.Duration(p.read)*time.Second/bodyRate, readTimeout)
	_ = p.conn.SetReadDeadline(p.begun.Add(allowed))
	n, err := p.body.Read(b[:min(len(b), bodyRate)])
	p.read += n
	return n, err
}

// errSlow is the error of a body that came too slowly or not completely.
var errSlow = api.NewError(api.ErrMalformed, "the body ended early or came too slowly")
