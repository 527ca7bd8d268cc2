package fetch

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// Reason is a kind of Problem.
type Reason string

// Reasons that have to do with the key.
const (
	Unauthorized Reason = "unauthorized" // 401: the key is unknown, revoked or expired
	Denied       Reason = "denied"       // 403: the key is for another resource, or lacks permission
)

// Reasons that have to do with TLS.
const (
	NotTLS    Reason = "not tls"    // https to a port that speaks plain http
	NeedsTLS  Reason = "needs tls"  // http to a port that speaks TLS
	UnknownCA Reason = "unknown ca" // the issuer of the certificate isn't trusted
	WrongName Reason = "wrong name" // the certificate is for another host
	Clock     Reason = "clock"      // the certificate isn't valid now, by this machine's clock
	TLSFailed Reason = "tls failed" // the handshake failed for another reason
)

const (
	reasonNotFound    Reason = "not found"    // 404
	reasonRefused     Reason = "refused"      // another 4xx
	reasonBusy        Reason = "busy"         // 429 or 5xx, after all retries
	reasonUnreachable Reason = "unreachable"  // no connection, or it was closed early
	reasonUnknownHost Reason = "unknown host" // the name has no address
	reasonTimedOut    Reason = "timed out"    // connected, but no response in time
	reasonBadAddress  Reason = "bad address"  // the name has an address that no key may be sent to
	reasonBadProxy    Reason = "bad proxy"    // the proxy refused to connect
	reasonRedirected  Reason = "redirected"   // redirects are not followed
	reasonBadAnswer   Reason = "bad answer"   // not the JSON that the API defines
	reasonTooLarge    Reason = "too large"    // the response is over its limit
	reasonTampered    Reason = "tampered"     // a reveal that cannot be opened
)

// Problem is the error of a call or of a field of Config, in words for the user. It contains no value, no key, and nothing of a response's body
// except the message of an error in the API's form.
//
// It wraps the *api.Error of an error response, api.ErrUnavailable if the vault couldn't be reached, or api.ErrTampered,
// so that errors.Is and api.Temporary work with it; of a file, the operating system's error.
type Problem struct {
	Reason  Reason // empty: a field of Config is invalid
	Message string // one sentence
	Fix     string // may be empty
	cause   error
}

func (p *Problem) Error() string { return p.Message }

// Hint returns Fix.
func (p *Problem) Hint() string { return p.Fix }

func (p *Problem) Unwrap() error { return p.cause }

// reworded returns the Problem in err with another message, unless that is empty, and fix.
func reworded(err error, message, fix string) error {
	p, ok := errors.AsType[*Problem](err)
	if !ok {
		return err
	}
	other := *p
	other.Message, other.Fix = cmp.Or(message, p.Message), fix
	return &other
}

// errSlow is the cause of an attempt's end at its deadline.
var errSlow = errors.New("deadline of the attempt passed")

// explain returns the Problem for an error of the transport. It doesn't repeat the error's text, which may quote what the
// peer sent.
func (c *Client) explain(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if p := c.explainTLS(err); p != nil {
		return p
	}
	at, setting, runs := "the vault at "+c.host, "MIOSA_BASE_URL", "the vault"
	dns, isDNS := errors.AsType[*net.DNSError](err)
	op, isOp := errors.AsType[*net.OpError](err)
	if c.proxy != "" && (isDNS || isOp && (op.Op == "dial" || op.Op == "proxyconnect")) {
		at, setting, runs = "the proxy at "+c.proxy, "--proxy or MIOSA_PROXY", "the proxy"
	}
	p := &Problem{Reason: reasonUnreachable, cause: api.ErrUnavailable, Fix: "check " + setting + ", and that " + runs + " runs"}
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case isDNS && dns.IsNotFound:
		p.Reason, p.Message, p.Fix = reasonUnknownHost, at+" can't be reached: its name has no address", "check "+setting+", and this machine's name servers"
	case isDNS:
		p.Message, p.Fix = at+" can't be reached: looking up its name failed", "check this machine's name servers"
	case isOp && op.Op == "dial" && op.Timeout():
		p.Reason, p.Message = reasonTimedOut, at+" can't be reached: no connection within "+connectTimeout.String()
	case errors.Is(err, errSlow), errors.Is(err, context.DeadlineExceeded), isNet && timeout.Timeout():
		p.Reason, p.Message, p.Fix = reasonTimedOut, at+" accepted the connection but did not respond in time", "the vault may be overloaded or stuck: look at its log"
	case errors.Is(err, syscall.ECONNREFUSED):
		p.Message = at + " can't be reached: connection refused"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		p.Message, p.Fix = at+" can't be reached: no route to it", "check this machine's network, and "+setting
	case isOp && op.Op == "dial":
		p.Message = at + " can't be reached"
	default:
		p.Message, p.Fix = "the connection to "+at+" broke off before the answer was complete", "look at the vault's log, or at a proxy in between: either may have been restarted"
	}
	return p
}

// explainTLS returns the Problem for an error of TLS, or of its absence, and nil for other errors. None is temporary.
func (c *Client) explainTLS(err error) *Problem {
	at := "the vault at " + c.host
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		p := &Problem{Reason: NotTLS, Message: at + " doesn't speak TLS on this port", Fix: "check the port, or use http where the vault is on this machine"}
		if string(e.RecordHeader[:]) == "HTTP/" {
			p.Message += ": it answered in plain http"
		}
		return p
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return expired(at, e.Cert, time.Now())
	}
	switch {
	case is[x509.UnknownAuthorityError](err):
		return &Problem{Reason: UnknownCA, Message: "the certificate of " + at + " is signed by an authority this machine doesn't trust",
			Fix: "for a private authority give --ca-file; else install the ca-certificates package"}
	case is[x509.SystemRootsError](err):
		return &Problem{Reason: UnknownCA, Message: "this machine's root certificates can't be loaded", Fix: "install the ca-certificates package, or give --ca-file"}
	case is[x509.HostnameError](err):
		return &Problem{Reason: WrongName, Message: "the certificate of " + at + " is for another name", Fix: "check the host in MIOSA_BASE_URL"}
	case tooOld(err):
		return &Problem{Reason: TLSFailed, Message: at + " does not support TLS 1.3, the oldest accepted version", Fix: "let the vault, or what ends TLS in front of it, speak TLS 1.3"}
	case is[x509.CertificateInvalidError](err), is[*tls.CertificateVerificationError](err), isAlert(err):
		return &Problem{Reason: TLSFailed, Message: "TLS with " + at + " failed: its certificate or the handshake was refused", Fix: "check the vault's certificate, and that it speaks TLS 1.3"}
	case !c.secure && strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`): // the start of an alert record
		return needsTLS(at)
	case c.secure && strings.HasPrefix(err.Error(), "tls: "): // made with errors.New
		return &Problem{Reason: TLSFailed, Message: "TLS with " + at + " failed", Fix: "check that the vault speaks TLS 1.3"}
	}
	return nil
}

// is reports whether the chain of err has an error of type E.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// isAlert reports whether err is a TLS alert, received or sent.
func isAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "remote error" || op.Op == "local error")
}

// tooOld reports whether the server supports no TLS version that the client accepts: it sent an alert, or chose a version
// that wasn't offered. crypto/tls has a type for neither.
func tooOld(err error) bool {
	return strings.HasSuffix(err.Error(), "tls: protocol version not supported") ||
		strings.Contains(err.Error(), "tls: server selected unsupported protocol version")
}

func needsTLS(at string) *Problem {
	return &Problem{Reason: NeedsTLS, Message: at + " expects TLS on this port, but the request was plain http", Fix: "use https in MIOSA_BASE_URL"}
}

// expired returns the Problem for a certificate that isn't valid now. The hint contains this machine's time, since the
// clock is often wrong after a virtual machine is resumed.
func expired(at string, cert *x509.Certificate, now time.Time) *Problem {
	message := "the certificate of " + at + " has expired"
	bound := "it ended " + cert.NotAfter.UTC().Format(time.RFC3339)
	if now.Before(cert.NotBefore) {
		message = "the certificate of " + at + " isn't valid yet"
		bound = "it begins " + cert.NotBefore.UTC().Format(time.RFC3339)
	}
	return &Problem{Reason: Clock, Message: message,
		Fix: "check this machine's clock: it says " + now.UTC().Format(time.RFC3339) + ", " + bound}
}

// proxyAnswer returns an error for a response to CONNECT other than 200, without the proxy's text.
func proxyAnswer(_ context.Context, _ *url.URL, _ *http.Request, a *http.Response) error {
	if a.StatusCode == http.StatusOK {
		return nil
	}
	p := &Problem{Reason: reasonBadProxy, Message: "the proxy refused to connect to the vault: status " + strconv.Itoa(a.StatusCode), Fix: "check the proxy's rules for this host"}
	if a.StatusCode == http.StatusProxyAuthRequired {
		p.Fix = "the proxy wants a user name and password in its URL"
	}
	return p
}
