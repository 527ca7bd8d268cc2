package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/Miosa-osa/miosa-env/egress/policy"
	"github.com/Miosa-osa/miosa-env/egress/rule"
)

// tunnelKey is the key of a request's tunnel in its context.
type tunnelKey struct{}

// tunnel is the connection of a client to one destination. Until the destination and what is done with the connection are
// known, it keeps what it reads and writes nothing.
type tunnel struct {
	net.Conn
	to       destination     // the host is "" if only requests name it: on redirected connections without TLS
	at       destination     // the address that a redirected client connected to; zero: with CONNECT
	secure   bool            // TLS, terminated by this proxy
	refusal  *Refusal        // of all requests in it; nil: none
	certify  string          // the host that the client wants a certificate of
	upstream net.Conn        // to the destination, if it was connected before the answer to CONNECT; else nil
	policy   policy.Decision // about upstream

	ahead    []byte // read before, and to be read again
	deciding bool
	seen     []byte // read while deciding
}

// Read implements net.Conn.
func (t *tunnel) Read(p []byte) (n int, err error) {
	if len(t.ahead) > 0 {
		n = copy(p, t.ahead)
		t.ahead = t.ahead[n:]
	} else {
		n, err = t.Conn.Read(p)
	}
	if t.deciding {
		t.seen = append(t.seen, p[:n]...)
	}
	return n, err
}

// Write implements net.Conn.
func (t *tunnel) Write(p []byte) (int, error) {
	if t.deciding {
		return len(p), nil // an alert of crypto/tls
	}
	return t.Conn.Write(p)
}

// CloseWrite ends the direction to the client.
func (t *tunnel) CloseWrite() error { return closeWrite(t.Conn) }

// Close implements net.Conn.
func (t *tunnel) Close() error {
	if t.upstream != nil {
		_ = t.upstream.Close()
	}
	return t.Conn.Close()
}

// peek reads until ahead has n bytes or read fails.
func (t *tunnel) peek(n int) error {
	for len(t.ahead) < n {
		buffer := make([]byte, 512)
		read, err := t.Conn.Read(buffer)
		t.ahead = append(t.ahead, buffer[:read]...)
		if err != nil && len(t.ahead) < n {
			return err
		}
	}
	return nil
}

// protocol is what the first bytes of a connection belong to.
type protocol int

const (
	protocolTLS   protocol = iota
	protocolHTTP           // HTTP/1, or what no server could take for anything else
	protocolHTTP2          // without TLS
	protocolOther
	protocolServerFirst // the client waits for the server
)

// handshakeRecord is the first byte of a TLS connection.
const handshakeRecord = 0x16

// longestLine is the longest first line, in bytes, whose protocol is detected. A longer one is passed to the HTTP server, which
// refuses it.
const longestLine = 16 << 10

// protocol finds out what the client speaks.
func (t *tunnel) protocol() (protocol, error) {
	switch err := t.peek(1); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return protocolServerFirst, nil
	case err != nil:
		return protocolOther, err
	case t.ahead[0] == handshakeRecord:
		return protocolTLS, nil
	case t.to.port == httpPort || t.ahead[0] == '\r' || t.ahead[0] == '\n' || space(t.ahead[0]):
		return protocolHTTP, nil
	}
	word, second := 0, false // where the first word ends, and whether the second one has begun
	for i := range longestLine {
		if err := t.peek(i + 1); err != nil {
			if errors.Is(err, io.EOF) {
				return protocolOther, nil // what was sent is not a request
			}
			return protocolOther, err // it may still become one
		}
		c := t.ahead[i]
		switch {
		case c == '\n':
			if word > 0 && bytes.Contains(bytes.ToUpper(t.ahead[word:i]), []byte("HTTP/")) {
				return protocolHTTP, nil
			}
			return protocolOther, nil
		case space(c):
			if word == 0 {
				word = i
			}
			continue
		case word == 0 && !httpguts.IsTokenRune(rune(c)), word > 0 && c < ' ' && c != '\r':
			return protocolOther, nil
		}
		if word > 0 && !second {
			second = true
			switch {
			case string(t.ahead[:i+1]) == preface:
				return protocolHTTP2, nil
			case c == '/' || c == '*' || c|0x20 == 'h': // of http://
				return protocolHTTP, nil
			}
		}
	}
	return protocolHTTP, nil
}

// preface begins a connection of HTTP/2 without TLS.
const preface = "PRI *"

// space reports whether a server may take a byte for the space between the words of a request's first line.
func space(c byte) bool {
	return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c >= 0x1c && c <= 0x1f
}

// run serves a connection whose client has been told that it is connected, until it ends or is given to the HTTP server.
func (s *Server) run(ctx context.Context, t *tunnel) {
	_ = t.SetReadDeadline(time.Now().Add(min(silentClient, s.Limits.handshake())))
	speaks, err := t.protocol()
	if err != nil {
		_ = t.Close()
		return
	}
	_ = t.SetReadDeadline(time.Now().Add(s.Limits.handshake()))
	if t.to.host == "" && speaks != protocolTLS && speaks != protocolHTTP {
		t.to = t.at
	}
	switch {
	case speaks == protocolTLS:
		s.handshake(ctx, t)
	case speaks == protocolHTTP:
		if t.upstream != nil {
			_ = t.upstream.Close() // requests have connections of their own
			t.upstream = nil
		}
		s.accepted.Give(t)
	case speaks == protocolHTTP2:
		s.refuse(t, &Refusal{Reason: reasonPlaintext, Message: "HTTP/2 without TLS is not possible through the proxy"})
	case s.Set().decrypts(t.to):
		s.refuse(t, &Refusal{Reason: reasonPlaintext, Message: "requests to " + t.to.String() + " have rules, so its connections must use TLS"})
	default:
		s.splice(ctx, t, speaks == protocolServerFirst)
	}
}

// errSplice ends a handshake of crypto/tls: the connection is not decrypted.
var errSplice = errors.New("the connection is not decrypted")

// handshake reads the client's part of the handshake, and terminates TLS or passes the connection on.
func (s *Server) handshake(ctx context.Context, t *tunnel) {
	t.deciding = true
	secure := tls.Server(t, s.tls)
	_ = t.SetWriteDeadline(time.Now().Add(s.Limits.handshake()))
	err := secure.HandshakeContext(ctx)
	_ = t.SetDeadline(time.Time{})
	refusal, refused := errors.AsType[*Refusal](err)
	switch {
	case err == nil:
		s.accepted.Give(secure)
	case errors.Is(err, errSplice):
		t.deciding, t.ahead, t.seen = false, append(t.seen, t.ahead...), nil
		s.splice(ctx, t, false)
	case refused:
		s.refuse(t, refusal)
	default:
		// The client doesn't trust the authority, or sent something else than TLS.
		s.Log.Debug().Str("host", t.to.host).Msg("tls handshake failed")
		_ = t.Close()
	}
}

// decide is called when the client's first message of a TLS handshake is known, and nothing has been answered. It returns
// errSplice for a host that is not decrypted.
func (s *Server) decide(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	t := hello.Conn.(*tunnel)
	name := ""
	if hello.ServerName != "" {
		var err error
		if name, err = rule.Host(hello.ServerName); err != nil {
			return nil, &Refusal{Reason: reasonHost, Message: "the server name in the TLS handshake is not the name of a host"}
		}
	}
	if t.to.host == "" { // redirected
		t.to.host = name
		if name == "" {
			t.to.host = t.at.host
		}
	}
	set := s.Set()
	decrypts := set.decrypts(t.to)
	t.certify = t.to.host
	if name != "" && name != t.to.host {
		t.refusal = &Refusal{
			Status: 421, Reason: reasonHost,
			Message: "the server name in the TLS handshake, " + name + ", is not the host of the connection, " + t.to.host,
		}
		// The client only reads an answer from a host that the authority certifies.
		if set.decrypts(destination{name, t.to.port}) {
			t.certify = name
		} else if !decrypts {
			return nil, t.refusal
		}
	} else if !decrypts {
		return nil, errSplice
	}
	t.deciding, t.seen, t.secure = false, nil, true
	if t.upstream != nil {
		_ = t.upstream.Close() // rules have appeared since
		t.upstream = nil
	}
	return nil, nil
}

// certificate issues the certificate for a connection that decide has decided to terminate.
func (s *Server) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	t := hello.Conn.(*tunnel)
	c, err := s.Authority.Certificate(t.certify)
	if err != nil {
		s.record(s.eventOf(t), &Refusal{Reason: reasonCertifying, Message: "no certificate for " + t.certify + ": " + err.Error()})
	}
	return c, err
}

// refuse records the refusal of a connection, and closes it.
func (s *Server) refuse(t *tunnel, why *Refusal) {
	s.record(s.eventOf(t), why)
	_ = t.Close()
}
