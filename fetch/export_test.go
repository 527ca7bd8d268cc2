package fetch

import (
	"context"
	"net"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// DialWith replaces how the client connects: tests run on connections in memory, in virtual time.
func (c *Client) DialWith(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	c.transport.DialContext = dial
}

// NoteClock has the client learn from the date of an answer.
func (c *Client) NoteClock(date, began, now time.Time) { c.noteClock(date, began, now) }

// ResolveWith has the client look up names with r, and connect as ever.
func (c *Client) ResolveWith(r *net.Resolver) {
	d := dialer(!c.secure)
	d.Resolver = r
	c.transport.DialContext = d.DialContext
}

// Bundle has the clients of a test take path for the system's bundle of root certificates.
func Bundle(t interface{ Cleanup(func()) }, path string) {
	before := bundles
	t.Cleanup(func() { bundles = before })
	bundles = []string{path}
}

// What a client over https without a CAFile does with its configuration of TLS, and the part of a bundle that it parses.
var (
	TrustSystem        = trustSystem
	CertificatesNaming = certificatesNaming
)

// The reasons that are tested in detail, and unexported.
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

// The decoders, as the calls use them.
var (
	DecodeSecret   = one[api.Secret]("secret")
	DecodeSecrets  = list[api.Secret]("secrets")
	DecodeBinding  = one[api.Binding]("binding")
	DecodeBindings = list[api.Binding]("bindings")
	DecodeReveal   = open
)
