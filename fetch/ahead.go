package fetch

import (
	"context"
	"net"
	"net/url"
)

// ahead is a connection that was begun before there was a request for it.
type ahead struct {
	addr string
	done chan struct{} // closed when the fields below are final
	conn net.Conn
	err  error
}

// Connect begins to connect to the vault and returns at once: the first call then finds the connection made,
// or on its way. Where that fails, the call connects as if nothing had been. Call it once, before any call.
func (c *Client) Connect() {
	if c.direct == "" {
		return
	}
	a := &ahead{addr: c.direct, done: make(chan struct{})}
	c.ahead.Store(a)
	go func() {
		defer close(a.done)
		ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
		defer cancel()
		a.conn, a.err = c.dial(ctx, "tcp", a.addr)
	}()
}

// dialContext is the transport's: it takes the connection made ahead, once, or makes one.
func (c *Client) dialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if a := c.ahead.Swap(nil); a != nil && a.addr == addr {
		select {
		case <-a.done:
			if a.err == nil {
				return a.conn, nil
			}
		case <-ctx.Done():
			go a.drop()
			return nil, ctx.Err()
		}
	}
	return c.dial(ctx, network, addr)
}

// drop closes a connection that nobody will take.
func (a *ahead) drop() {
	<-a.done
	if a.conn != nil {
		_ = a.conn.Close()
	}
}

// address is where a URL's host is reached, as net/http names it.
func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = defaultPort(u.Scheme)
	}
	return net.JoinHostPort(u.Hostname(), port)
}
