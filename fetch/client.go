// Package fetch is the client of the API.
//
// It sends a key only to the configured origin: it follows no redirect, uses a proxy only if one is configured and only
// with CONNECT, and checks addresses after name lookup. It retries temporary errors within one time limit. Other errors
// are Problems, with a hint for the user.
package fetch

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/rs/zerolog"
)

// Client calls the API of one vault. It is safe for concurrent use.
type Client struct {
	base      string // without a trailing slash
	host      string // for errors
	proxy     string // host and port, for errors; "": none
	secure    bool   // https
	key       atomic.Pointer[api.Key]
	reread    func(ctx context.Context, refused api.Key) (api.Key, error)
	rereading chan struct{} // a semaphore: one call rereads at a time
	userAgent string
	timeout   time.Duration
	log       zerolog.Logger
	transport *http.Transport
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	direct    string                    // the vault's host:port; "": through a proxy
	early     atomic.Pointer[earlyConn] // from Connect, until a call takes it
	skew      atomic.Pointer[time.Duration]
	tls       atomic.Pointer[tls.ConnectionState]
}

// New returns a client. It opens no connection. It reads CAFile or, for https without one, the system's bundle of root
// certificates.
func New(c Config) (*Client, error) {
	base, proxy, err := c.parse()
	if err != nil {
		return nil, err
	}
	secure := base.Scheme == "https"
	t := &http.Transport{
		TLSHandshakeTimeout:    connectTimeout,
		DisableCompression:     true, // so that a small response cannot expand to gigabytes
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        90 * time.Second,
	}
	var trusted *x509.CertPool
	if c.CAFile != "" {
		if trusted, err = roots(c.CAFile); err != nil {
			return nil, err
		}
	}
	if secure {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: trusted}
	}
	through, oneHost := "", true // oneHost: TLSClientConfig is for the vault only, not for an https proxy as well
	if proxy != nil {
		t.Proxy = http.ProxyURL(proxy)
		through = proxy.Host
		t.OnProxyConnectResponse = proxyAnswer
		oneHost = proxy.Scheme == "http"
	}
	if secure && trusted == nil && oneHost {
		trustSystem(t.TLSClientConfig, base.Hostname())
	}
	client := &Client{
		base: base.String(), host: base.Host, proxy: through, secure: secure, userAgent: cmp.Or(c.UserAgent, "miosa-env"),
		reread: c.Reread, rereading: make(chan struct{}, 1),
		timeout: cmp.Or(c.Timeout, DefaultTimeout), log: c.Log, dial: dialer(!secure).DialContext, transport: t,
	}
	client.key.Store(&c.Key)
	if proxy == nil {
		client.direct = net.JoinHostPort(base.Hostname(), cmp.Or(base.Port(), defaultPort(base.Scheme)))
	}
	t.DialContext = client.dialContext
	return client, nil
}

// Close closes idle connections.
func (c *Client) Close() {
	c.transport.CloseIdleConnections()
	if early := c.early.Swap(nil); early != nil {
		go early.drop()
	}
}

// ClockSkew returns how far this machine's clock is ahead of the vault's, in whole seconds; negative if it is behind. It
// returns false before the first response.
func (c *Client) ClockSkew() (time.Duration, bool) {
	if d := c.skew.Load(); d != nil {
		return *d, true
	}
	return 0, false
}

// noteClock updates the skew from the Date of a response that arrived at now, for a request sent at began. The vault may
// have written the date at any time between, as this process may have been suspended. So the known skew is kept if it is
// possible; otherwise the response counts as sent just now.
func (c *Client) noteClock(date, began, now time.Time) {
	latest := now.Round(0).Sub(date)
	earliest := min(began.Round(0).Sub(date), latest-now.Sub(began)) // the clock may have been set in between
	skew, _ := c.ClockSkew()
	if skew < earliest-time.Second || skew > latest+time.Second { // dates are in whole seconds
		skew = latest.Round(time.Second)
	}
	c.skew.Store(&skew)
}

// TLS returns the state of the connection of the last response: nil before the first, and for plain http.
func (c *Client) TLS() *tls.ConnectionState { return c.tls.Load() }
