package replicatest

import (
	"context"
	"strings"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// link is a TCP proxy from a vault to a database server.
type link struct{ proxy *toxiproxy.Proxy }

// newLink starts a proxy to an address.
func newLink(to string) (*link, error) {
	owner := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &link{toxiproxy.NewProxy(owner, "link", "127.0.0.1:0", to)}
	return l, l.proxy.Start()
}

// Addr is the proxy's address.
func (l *link) Addr() string { return l.proxy.Listen }

// Cut makes the link a black hole, for connections that are open and for new ones, until Heal.
func (l *link) Cut() error {
	for _, direction := range []string{"upstream", "downstream"} {
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(`{"type": "timeout", "stream": "` + direction + `", "attributes": {"timeout": 0}}`)); err != nil {
			return err
		}
	}
	return nil
}

// Heal ends Cut. Connections that were open break.
func (l *link) Heal() { l.proxy.Toxics.ResetToxics(context.Background()) }

// point makes the link lead to another address.
func (l *link) point(to string) error {
	l.proxy.Stop()
	l.proxy.Upstream = to
	return l.proxy.Start()
}

// close ends the link and its connections.
func (l *link) close() { l.proxy.Stop() }
