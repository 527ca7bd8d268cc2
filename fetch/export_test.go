package fetch

import (
	"context"
	"net"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// DialWith replaces the client's dialer, so that tests can use in-memory connections and virtual time.
func (c *Client) DialWith(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	c.transport.DialContext = dial
}

// SecretPage sends one request of Secrets.
func (c *Client) SecretPage(ctx context.Context, f SecretFilter, limit int, cursor string) ([]api.Secret, string, error) {
	return c.secretPage(ctx, f, limit, cursor)
}

// NoteClock updates the client's clock skew from the date of a response.
func (c *Client) NoteClock(date, began, now time.Time) { c.noteClock(date, began, now) }

// ResolveWith makes the client resolve names with r.
func (c *Client) ResolveWith(r *net.Resolver) {
	d := dialer(!c.secure)
	d.Resolver = r
	c.transport.DialContext = d.DialContext
}

// Bundle makes the clients of a test read the system's root certificates from path.
func Bundle(t interface{ Cleanup(func()) }, path string) {
	before := SystemRoots
	t.Cleanup(func() { SystemRoots = before })
	SystemRoots = []string{path}
}

// Verification against the system's roots, and the part of a bundle that is parsed for it.
var (
	TrustSystem        = trustSystem
	CertificatesNaming = certificatesNaming
)

// Unexported reasons that are tested.
const (
	NotFound    = reasonNotFound
	Refused     = reasonRefused
	Busy        = reasonBusy
	Unreachable = reasonUnreachable
	UnknownHost = reasonUnknownHost
	TimedOut    = reasonTimedOut
	BadAddress  = reasonBadAddress
	BadProxy    = reasonBadProxy
	Redirected  = reasonRedirected
	BadAnswer   = reasonBadAnswer
	TooLarge    = reasonTooLarge
	Tampered    = reasonTampered
)

// The decoders of the calls.
var (
	DecodeSecret   = one[api.Secret]("secret")
	DecodeSecrets  = list[api.Secret]("secrets")
	DecodeBinding  = one[api.Binding]("binding")
	DecodeBindings = list[api.Binding]("bindings")
	DecodeReveal   = open
)
