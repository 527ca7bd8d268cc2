// Package fetch is the contract's client: what the agent and the command line say to a vault.
//
// A key goes to the configured origin only: no redirect is followed, a proxy is used only when asked
// for and only through CONNECT, and an address is checked after name lookup. What may pass by itself
// is retried within one budget; what won't is a Problem, with a hint for whoever can fix it.
package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/rs/zerolog"
)

// Client speaks to one vault with one key, and with another once Config.Reread has given it. It is safe for concurrent use.
type Client struct {
	base      string // without a slash at its end
	host      string // for errors
	proxy     string // its host and port, for errors; "": none
	secure    bool   // https
	key       atomic.Pointer[api.Key]
	reread    func(ctx context.Context, refused api.Key) (api.Key, error)
	rereading chan struct{} // has room for the one call that rereads
	userAgent string
	timeout   time.Duration
	log       zerolog.Logger
	transport *http.Transport
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	direct    string                // where to connect to, host:port; "": through a proxy
	ahead     atomic.Pointer[ahead] // what Connect began, until a call takes it
	skew      atomic.Pointer[time.Duration]
	tls       atomic.Pointer[tls.ConnectionState]
}

// New makes a client. It opens no connection. It reads CAFile or, for https without one, the system's
// bundle of root certificates.
func New(c Config) (*Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	base, err := c.base()
	if err != nil {
		return nil, err
	}
	secure := base.Scheme == "https"
	t := &http.Transport{
		TLSHandshakeTimeout:    connectTimeout,
		DisableCompression:     true, // a small answer that unpacks to gigabytes is never unpacked
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
	through, oneHost := "", true // oneHost: the configuration of TLS isn't for an https proxy as well
	if c.Proxy != "" {
		proxy, err := c.proxy()
		if err != nil {
			return nil, err
		}
		t.Proxy = func(*http.Request) (*url.URL, error) { return proxy, nil }
		through = proxy.Host
		t.OnProxyConnectResponse = proxyAnswer
		oneHost = proxy.Scheme == "http"
	}
	if secure && trusted == nil && oneHost {
		trustSystem(t.TLSClientConfig, base.Hostname())
	}
	client := &Client{
		base: base.String(), host: base.Host, proxy: through, secure: secure, userAgent: c.userAgent(),
		reread: c.Reread, rereading: make(chan struct{}, 1),
		timeout: c.timeout(), log: c.Log, dial: dialer(!secure).DialContext, transport: t,
	}
	client.key.Store(&c.Key)
	if c.Proxy == "" {
		client.direct = address(base)
	}
	t.DialContext = client.dialContext
	return client, nil
}

// Close closes the connections that no call is using.
func (c *Client) Close() {
	c.transport.CloseIdleConnections()
	if a := c.ahead.Swap(nil); a != nil {
		go a.drop()
	}
}

// ClockSkew returns how far this machine's clock is ahead of the vault's (negative: behind), to the
// second, by the answers so far; false before the first.
func (c *Client) ClockSkew() (time.Duration, bool) {
	if d := c.skew.Load(); d != nil {
		return *d, true
	}
	return 0, false
}

// noteClock learns from an answer that the vault dated, and that came now to a request begun at began. The vault may have
// written the date at any moment between: this process, or its machine, may have been stopped since. So what is known stays
// where it is possible; else the answer counts as one that came at once.
func (c *Client) noteClock(date, began, now time.Time) {
	latest := now.Round(0).Sub(date)
	earliest := min(began.Round(0).Sub(date), latest-now.Sub(began)) // the clock may have been set meanwhile
	skew, _ := c.ClockSkew()
	if skew < earliest-time.Second || skew > latest+time.Second { // a date is in whole seconds
		skew = latest.Round(time.Second)
	}
	c.skew.Store(&skew)
}

// TLS describes the connection of the last answer: nil before the first, and over plain http.
func (c *Client) TLS() *tls.ConnectionState { return c.tls.Load() }
